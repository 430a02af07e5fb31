// Makes the pictures of docs/serve/page.md: node screenshots.mjs
// They look best with the fonts Inter, Charis SIL and JetBrains Mono installed,
// and are small where pngquant is.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { build, delta, script, serve, usage } from './server.mjs'

const out = new URL('../../docs/images/', import.meta.url).pathname
mkdirSync(out, { recursive: true })

const reasoning = 'They ask for the mean of the middle half. Sort, drop a quarter at each end, average the rest; say what happens with few values.'
const content = `Sort the values, leave out a quarter at each end, and take the mean of the rest:

\`\`\`go
func MiddleMean(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	cut := len(sorted) / 4
	return mean(sorted[cut : len(sorted)-cut])
}
\`\`\`

- With fewer than **four** values nothing is cut, so it is the plain mean.
- A single wild measurement no longer moves the result.`

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
const binary = build()
const server = await serve(binary.path)
const played = await script(server.url)

async function shot(name, { url = played.url, ...options }, act) {
  const page = await browser.newPage({ viewport: { width: 1100, height: 760 }, ...options })
  await page.addInitScript(() => localStorage.setItem('godwit.settings', '{"seed":6,"max_tokens":110}'))
  await page.goto(url)
  await page.getByText('parameters and runs on').waitFor()
  await act(page)
  await page.waitForTimeout(300)
  const path = `${out}page-${name}.png`
  await page.screenshot({ path })
  spawnSync('pngquant', ['--force', '--skip-if-larger', '--strip', '--output', path, '64', path])
  await page.close()
}

async function talk(page) {
  played.answers.push({ chunks: [delta({ reasoning_content: reasoning }), ...content.split(/(?<= )/).map((word) => delta({ content: word })), delta({}, 'stop'), usage(48, 131)] })
  await page.getByLabel('Message', { exact: true }).fill('How do I take the mean of the middle half of some values in Go?')
  await page.getByRole('button', { name: 'Send', exact: true }).click()
  await page.getByRole('button', { name: 'Regenerate' }).waitFor()
}

const phone = { viewport: { width: 390, height: 760 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true }
await shot('light', { colorScheme: 'light' }, talk)
await shot('dark', { colorScheme: 'dark' }, talk)
await shot('phone', { ...phone, url: server.url, colorScheme: 'light' }, async (page) => {
  await page.getByRole('button', { name: 'Tell me of a journey' }).tap()
  await page.getByRole('button', { name: 'Regenerate' }).waitFor()
})
await shot('phone-settings', { ...phone, colorScheme: 'dark' }, (page) => page.getByRole('button', { name: 'Settings' }).tap())
await browser.close()
await played.stop()
await server.stop()
binary.remove()
