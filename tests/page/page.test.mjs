// The page in headless Chromium, against a live godwit serve with the built-in
// model on the CPU; where the built-in model cannot play the part (reasoning,
// calls, hostile text), the answers are scripted.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { build, delta, script, serve, usage } from './server.mjs'

const axe = createRequire(import.meta.url).resolve('axe-core')
let binary, server, played, browser

before(async () => {
  binary = build()
  server = await serve(binary.path)
  played = await script(server.url)
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
})
after(async () => {
  await browser?.close()
  await played?.stop()
  await server?.stop()
  binary?.remove()
})

// Page is what a user sees and does.
class Page {
  constructor(page) {
    this.page = page
    this.faults = []
    page.on('pageerror', (e) => this.faults.push(String(e)))
    page.on('console', (m) => m.type() === 'error' && this.faults.push(m.text()))
  }
  input = () => this.page.getByRole('textbox', { name: 'Message', exact: true })
  answers = () => this.page.getByRole('article', { name: 'Answer' })
  lastText = () => this.answers().last().locator('.content').innerText()
  button = (name) => this.page.getByRole('button', { name, exact: true })
  async say(text) {
    await this.input().fill(text)
    await this.input().press('Enter')
  }
  // ended waits until no answer streams.
  ended = () => this.page.waitForFunction(() => !document.body.classList.contains('busy') && document.querySelector('.answer'))
  streaming = () => this.page.waitForFunction(() => document.body.classList.contains('busy') && document.querySelector('.answer:last-child .content')?.textContent.length > 20)
  async set(values) {
    await this.button('Settings').click()
    for (const [label, value] of Object.entries(values)) await this.page.getByLabel(label, { exact: true }).fill(value)
    await this.button('Save').click()
  }
}

// visit runs a test on a fresh page, which must not complain about anything.
const visit = (name, act, { url = () => server.url, faults = [], ...options } = {}) => test(name, { timeout: 30_000 }, async () => {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 }, ...options })
  context.setDefaultTimeout(8_000)
  const p = new Page(await context.newPage())
  played.answers.length = 0
  try {
    await p.page.goto(url())
    await p.page.locator('#about:not(:empty)').waitFor()
    await act(p, p.page)
    const unexpected = p.faults.filter((f) => !faults.some((known) => known.test(f)))
    assert.deepEqual(unexpected, [])
  } finally {
    await context.close()
  }
})

visit('a conversation: streaming, counts, reload, another turn', async (p, page) => {
  const lengths = await page.evaluate(() => {
    window.lengths = []
    new MutationObserver(() => window.lengths.push(document.querySelector('.answer .content')?.textContent.length)).observe(document.getElementById('log'), { childList: true, subtree: true, characterData: true })
    return window.lengths
  })
  assert.deepEqual(lengths, [])
  await endless(page, 900) // long enough to come in steps where a busy machine draws seldom
  await p.set({ Seed: '7' })
  await p.say('Tell me of a river')
  await p.ended()
  const seen = new Set(await page.evaluate(() => window.lengths))
  assert.ok(seen.size > 3, `the text came in ${seen.size} steps`)
  assert.match(await p.answers().locator('.stats').innerText(), /^(Ended at the limit of tokens, )?\d+ tokens at [\d,]+\/s/)
  assert.match(await page.locator('#counts').innerText(), /^\d+ of 8,192 tokens of context$/)
  assert.equal(await page.title(), 'Tell me of a river · Godwit')
  const text = await p.lastText()
  await page.reload()
  assert.equal(await p.lastText(), text)
  await p.say('And then?')
  await p.ended()
  assert.equal(await p.answers().count(), 2)
})

visit('a seed makes regenerating repeat itself, and without one it does not', async (p) => {
  await p.set({ Seed: '11', 'Most new tokens': '40', Temperature: '1' })
  await p.say('A storm')
  await p.ended()
  const first = await p.lastText()
  const again = async () => {
    await p.button('Regenerate').click()
    await p.ended()
    return p.lastText()
  }
  assert.equal(await again(), first)
  await p.set({ Seed: '', 'Most new tokens': '60' })
  assert.notEqual(await again(), first)
  assert.equal(await p.answers().count(), 1)
})

visit('stop by the button and by Escape keeps what came', async (p, page) => {
  slow()
  for (const stop of [() => p.button('Stop').click(), () => page.keyboard.press('Escape')]) {
    await p.say('Go on and on')
    await p.streaming()
    await stop()
    await p.ended()
    assert.match(await p.answers().last().locator('.stats').innerText(), /^Stopped/)
    assert.ok((await p.lastText()).length > 10)
  }
  assert.equal(await p.page.locator('#status').innerText(), 'Stopped.')
  const before = await p.lastText()
  await page.reload()
  assert.equal(await p.lastText(), before)
}, { url: () => played.url })

// endless makes the model say as much as it is told, whatever it wants to.
const endless = (page, max_tokens) => page.route('**/v1/chat/completions', (route) => route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), ignore_eos: true, max_tokens }) }))

// slow makes the scripted model take its time.
function slow() {
  for (let i = 0; i < 2; i++) played.answers.push({ chunks: Array.from({ length: 2000 }, (_, i) => delta({ content: `word${i} ` })) })
}

visit('a stop reaches the server, which gives the answer up', async (p, page) => {
  await endless(page, 7000)
  await p.say('For ever')
  await p.streaming()
  await page.keyboard.press('Escape')
  await p.ended()
  const end = Date.now() + 5000
  while (!/completions status=499/.test(server.log()) && Date.now() < end) await page.waitForTimeout(50)
  assert.match(server.log(), /completions status=499/)
})

visit('edit a turn and send it again; Escape leaves it', async (p, page) => {
  await p.set({ 'Most new tokens': '20' })
  await p.say('First')
  await p.ended()
  await p.say('Second')
  await p.ended()
  await p.button('Edit').first().click()
  const field = page.getByRole('textbox', { name: 'Edit the message' })
  await field.fill('Nothing of this')
  await field.press('Escape')
  assert.deepEqual(await page.locator('.said').allInnerTexts(), ['First', 'Second'])
  await p.button('Edit').first().click()
  await field.fill('Third')
  await field.press('Enter')
  await p.ended()
  assert.deepEqual(await page.locator('.said').allInnerTexts(), ['Third'])
  assert.equal(await p.answers().count(), 1)
})

visit('settings reach the request, and wrong ones are named', async (p, page) => {
  await p.button('Settings').click()
  const problem = page.getByRole('alert')
  await page.getByLabel('Temperature').fill('3')
  await p.button('Save').click()
  assert.equal(await problem.innerText(), 'Temperature must be a number from 0 to 2.')
  await page.getByLabel('Temperature').fill('0.5')
  await page.getByText('Tools', { exact: true }).click()
  await page.locator('#tools').fill('{')
  await p.button('Save').click()
  assert.match(await problem.innerText(), /^Tools are not JSON: /)
  await page.locator('#tools').fill('[{"type":"function","function":{"name":"look"}}]')
  await page.getByLabel('System prompt').fill('Be brief.')
  await page.getByLabel('Top-p').fill('0.9')
  await page.getByLabel('Most new tokens').fill('15')
  await page.getByLabel('Seed').fill('3')
  await p.button('Save').click()
  played.answers.push({ chunks: [delta({ content: 'Yes.' }), delta({}, 'stop'), usage(5, 2)] })
  await p.say('Well?')
  await p.ended()
  const { messages, temperature, top_p, max_tokens, seed, tools, model } = played.requests.at(-1)
  assert.deepEqual(messages, [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Well?' }])
  assert.deepEqual({ temperature, top_p, max_tokens, seed, model }, { temperature: 0.5, top_p: 0.9, max_tokens: 15, seed: 3, model: 'builtin' })
  assert.equal(tools[0].function.name, 'look')
}, { url: () => played.url })

visit('thinking is switched where the model can, and facts are shown', async (p, page) => {
  await p.button('builtin').click()
  assert.match(await page.locator('#facts').innerText(), /Context\s+8,192 tokens[^]*Runs on\s+CPU[^]*Reasoning\s+yes/)
  await page.keyboard.press('Escape')
  await p.button('Settings').click()
  assert.equal(await page.getByLabel('Thinking').isVisible(), false)
  await page.route('**/v1/models', async (route) => {
    const answer = await route.fetch()
    const body = await answer.json()
    Object.assign(body.data[0].facts, { reasons: true, switches_thinking: true })
    await route.fulfill({ response: answer, json: body })
  })
  await page.reload()
  await page.locator('#about:not(:empty)').waitFor()
  await p.button('Settings').click()
  await page.getByLabel('Thinking').selectOption('Off')
  await p.button('Save').click()
  played.answers.push({ chunks: [delta({ content: 'Yes.' }), delta({}, 'stop'), usage(5, 2)] })
  await p.say('Well?')
  await p.ended()
  assert.deepEqual(played.requests.at(-1).chat_template_kwargs, { enable_thinking: false })
}, { url: () => played.url })

visit('reasoning is folded, calls are shown and answered', async (p, page) => {
  const call = (more) => delta({ tool_calls: [{ index: 0, ...more }] })
  played.answers.push({ chunks: [
    delta({ role: 'assistant', reasoning_content: 'They ask for ' }), delta({ reasoning_content: 'the weather → café.' }), delta({ content: 'Let me look.' }),
    call({ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"pla' } }), call({ function: { arguments: 'ce":"Zürich"}' } }), delta({}, 'tool_calls'), usage(20, 30),
  ] })
  await p.say('Rain?')
  await p.ended()
  const reasoning = page.getByText('They ask for the weather → café.')
  assert.ok(!(await reasoning.isVisible()))
  await page.getByText(/^Thought for/).click()
  await reasoning.waitFor()
  assert.equal(await page.getByLabel('Arguments').innerText(), '{\n  "place": "Zürich"\n}')
  played.answers.push({ chunks: [delta({ content: 'It **rains**.' }), delta({}, 'stop'), usage(40, 4)] })
  await page.getByLabel('Result of weather').fill('rain, 12 °C')
  await p.button('Answer the call').click()
  await p.page.getByText('It rains.').waitFor()
  assert.deepEqual(played.requests.at(-1).messages.slice(1), [
    { role: 'assistant', content: 'Let me look.', reasoning_content: 'They ask for the weather → café.', tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"place":"Zürich"}' } }] },
    { role: 'tool', tool_call_id: 'c1', content: 'rain, 12 °C' },
  ])
  await page.reload()
  assert.equal(await page.getByLabel('Result', { exact: true }).innerText(), 'rain, 12 °C')
}, { url: () => played.url })

visit('several calls are answered one by one', async (p, page) => {
  const calls = ['one', 'two'].map((name, index) => delta({ tool_calls: [{ index, id: `c${index}`, type: 'function', function: { name, arguments: '{}' } }] }))
  played.answers.push({ chunks: [...calls, delta({}, 'tool_calls'), usage(1, 2)] }, { chunks: [delta({ content: 'Done.' }), delta({}, 'stop'), usage(1, 2)] })
  await p.say('Both')
  await p.ended()
  await page.getByLabel('Result of two').fill('second')
  await page.getByLabel('Result of one').fill('first')
  await page.getByRole('region', { name: 'Tool call' }).first().getByRole('button').click()
  assert.equal(await page.getByLabel('Result of two').inputValue(), 'second')
  assert.equal(await page.evaluate(() => document.activeElement.value), 'second')
  const asked = played.requests.length
  await p.button('Answer the call').click()
  await page.getByText('Done.').waitFor()
  assert.equal(played.requests.length, asked + 1)
  const { messages } = played.requests.at(-1)
  assert.deepEqual(messages[1].tool_calls.map((c) => c.id), ['c0', 'c1'])
  assert.deepEqual(Object.fromEntries(messages.slice(2).map((m) => [m.tool_call_id, m.content])), { c0: 'first', c1: 'second' })
}, { url: () => played.url })

visit('markup in what is said stays text', async (p, page) => {
  const evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
  const link = '[x](javascript:window.hit=1) [y](https://example.com/"onclick="window.hit=1)'
  const text = `${evil}\n\n# ${evil}\n\n- ${evil}\n\n| ${evil} | b |\n|---|---|\n| ${evil} | ${link} |\n\n\`${evil}\`\n\n\`\`\`html"><svg/onload=window.hit=1>\n${evil}\n\`\`\`\n\n${link}`
  played.answers.push({ chunks: [
    delta({ reasoning_content: evil }), ...text.split(/(?=<)/).map((content) => delta({ content })),
    delta({ tool_calls: [{ index: 0, id: evil, function: { name: evil, arguments: evil } }] }), delta({}, 'stop'), usage(1, 2),
  ] })
  await p.say(evil)
  await p.ended()
  await page.getByText(/^Thought for/).click()
  await page.reload()
  await p.button('Earlier chats').click()
  assert.equal(await page.evaluate(() => window.hit), undefined)
  assert.equal(await page.locator('#log :is(img, script, svg, [onclick], [onerror])').count(), 0)
  assert.equal(await page.locator('#log a[href^=javascript]').count(), 0)
  assert.ok((await page.locator('.said').innerText()).includes(evil))
  assert.ok((await p.lastText()).includes('<script>window.hit=1</script>'))
  assert.equal(await page.evaluate(() => { try { document.body.innerHTML = '<p>'; return 'allowed' } catch { return 'refused' } }), 'refused')
}, { url: () => played.url, faults: [/TrustedHTML/] })

visit('markdown comes as elements', async (p, page) => {
  const text = '## Title\n\nSome *soft* and **strong** `code`.\n\n1. one\n2. two\n   - inner\n\n```go\nx := 1\n```\n\n> said\n\n| a | b |\n|---|---|\n| 1 | 2 |\n'
  played.answers.push({ chunks: [...text.split('').map((content) => delta({ content })), delta({}, 'stop'), usage(1, text.length)] })
  await p.say('Show me')
  await p.ended()
  for (const [selector, want] of [['h3', 'Title'], ['em', 'soft'], ['strong', 'strong'], ['p code', 'code'], ['ol > li:first-child', 'one'], ['ol ul li', 'inner'], ['pre code', 'x := 1'], ['blockquote', 'said'], ['td:last-child', '2']]) {
    assert.equal((await page.locator(`.prose ${selector}`).innerText()).trim(), want)
  }
}, { url: () => played.url })

visit('failures are told in words', async (p, page) => {
  const problem = page.locator('#log .problem > span').first()
  for (const [answer, want] of [
    [{ status: 429, headers: { 'Retry-After': '3' }, message: 'x' }, 'The server is busy: try again in 3 s.'],
    [{ status: 400, message: 'the prompt has 9000 tokens, want at most 8192' }, 'The prompt has 9000 tokens, want at most 8192.'],
    [{ chunks: [delta({ content: 'Half of' })], cut: true }, 'The connection broke before the answer was complete.'],
    [{ chunks: [delta({ content: 'Half of' }), { error: { message: 'the server is shutting down' } }] }, 'The server is shutting down.'],
  ]) {
    played.answers.push(answer)
    await p.say('Hello')
    await p.ended()
    assert.equal(await problem.innerText(), want)
    assert.equal(await page.locator('#status').innerText(), want)
    await p.button('New chat').click()
  }
  played.answers.push({ status: 500, message: 'oh' }, { chunks: [delta({ content: 'Here.' }), delta({}, 'stop'), usage(1, 1)] })
  await p.say('Hello')
  await p.button('Try again').click()
  await page.getByText('Here.').waitFor()
  assert.equal(await page.locator('#log .problem').count(), 0)
}, { url: () => played.url, faults: [/Failed to load resource/] })

test('a server that stops, and one that wants a key', { timeout: 30_000 }, async () => {
  const own = await serve(binary.path, '--api-key', 'open-sesame')
  const context = await browser.newContext()
  context.setDefaultTimeout(8_000)
  const p = new Page(await context.newPage())
  await p.page.goto(own.url)
  await p.page.getByText('wants a key').waitFor()
  await p.say('Hello')
  await p.page.locator('#log').getByText('This server asks for an API key.').waitFor()
  await p.button('Enter the key').click()
  await p.page.keyboard.type('open-sesame')
  await p.page.keyboard.press('Enter')
  await p.page.getByText('wants a key').waitFor({ state: 'detached' }).catch(() => {})
  await p.button('Try again').click()
  await p.ended()
  assert.ok((await p.lastText()).length > 0)
  assert.equal(await p.page.evaluate(() => localStorage.getItem('godwit.key')), null)
  await own.stop()
  await p.say('Still there?')
  await p.page.locator('#log').getByText('The server cannot be reached. Is godwit serve still running?').waitFor()
  await p.page.getByText('not reachable').waitFor()
  await context.close()
})

visit('everything by keyboard', async (p, page) => {
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim())
  const tab = async (want, key = 'Tab') => {
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press(key)
      if ((await focused()) === want) return
    }
    assert.fail(`${key} does not reach ${want}, but ${await focused()}`)
  }
  assert.equal(await focused(), 'input')
  await page.keyboard.type('Line one')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('line two')
  await page.keyboard.press('Enter')
  await p.ended()
  assert.equal(await page.locator('.said').innerText(), 'Line one\nline two')
  assert.equal(await focused(), 'input')
  await tab('Regenerate', 'Shift+Tab')
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)
  assert.equal(outline, 'solid')
  await page.keyboard.press('Enter')
  await p.ended()
  assert.equal(await focused(), 'input')
  await tab('Edit', 'Shift+Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('textbox', { name: 'Edit the message' }).waitFor()
  await page.keyboard.press('Escape')
  assert.equal(await focused(), 'Edit')
  await tab('settings', 'Shift+Tab')
  await page.keyboard.press('Enter')
  await tab('seed')
  await page.keyboard.type('5')
  await page.keyboard.press('Enter')
  assert.equal(await focused(), 'settings')
  assert.match(await page.evaluate(() => localStorage.getItem('godwit.settings')), /"seed":5/)
  await tab('model', 'Shift+Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').getByText('Architecture').waitFor()
  await page.keyboard.press('Escape')
  await tab('new')
  await page.keyboard.press('Enter')
  assert.equal(await p.answers().count(), 0)
  await tab('history', 'Shift+Tab')
  await page.keyboard.press('Enter')
  await tab('Delete')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Enter') // Undo
  await page.locator('.chats .open').focus()
  await page.keyboard.press('Enter')
  assert.equal(await p.answers().count(), 1)
})

visit('chats are kept apart, and can be deleted', async (p, page) => {
  await p.set({ 'Most new tokens': '5' })
  for (const text of ['One chat', 'Another chat']) {
    await p.button('New chat').click()
    await p.say(text)
    await p.ended()
  }
  await p.button('Earlier chats').click()
  assert.deepEqual(await page.locator('.chats .title').allInnerTexts(), ['Another chat', 'One chat'])
  await p.button('Delete Another chat').click()
  await p.page.getByRole('dialog').getByRole('button', { name: 'Close' }).click()
  await p.button('Earlier chats').click()
  await page.locator('.chats .open').click()
  assert.deepEqual(await page.locator('.said').allInnerTexts(), ['One chat'])
})

visit('light and dark, by the system and by choice', async (p, page) => {
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const [light, dark] = ['rgb(250, 248, 244)', 'rgb(25, 23, 21)']
  assert.equal(await paper(), dark)
  await page.emulateMedia({ colorScheme: 'light' })
  assert.equal(await paper(), light)
  for (const [name, want] of [['Theme: as the system', light], ['Theme: light', light], ['Theme: dark', dark]]) {
    assert.equal(await p.button(name).count(), 1)
    assert.equal(await paper(), want)
    if (name !== 'Theme: dark') await p.button(name).click()
  }
  await page.reload()
  assert.equal(await paper(), dark)
}, { colorScheme: 'dark' })

visit('copy', async (p, page) => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  played.answers.push({ chunks: [delta({ content: '*a*\n\n```\nx\n```' }), delta({}, 'stop'), usage(1, 1)] })
  await p.say('Copy me')
  await p.ended()
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText())
  await page.locator('figure').getByRole('button', { name: 'Copy' }).click()
  await page.locator('figure').getByText('Copied').waitFor()
  assert.equal(await clipboard(), 'x')
  await p.answers().locator('.actions').getByRole('button', { name: 'Copy' }).click()
  await p.answers().locator('.actions').getByText('Copied').waitFor()
  assert.equal(await clipboard(), '*a*\n\n```\nx\n```')
}, { url: () => played.url })

visit('a phone: nothing is wider than the screen, targets are large, fields do not zoom', async (p, page) => {
  played.answers.push({ chunks: [delta({ content: '```\n' + 'wide '.repeat(80) + '\n```\n\n' + 'x'.repeat(400) + '\n\n| ' + 'cell | '.repeat(20) + '\n|' + '---|'.repeat(20) }), delta({}, 'stop'), usage(1, 1)] })
  await p.input().tap()
  await page.keyboard.type('One')
  await page.keyboard.press('Enter') // a phone's Enter breaks the line
  await page.keyboard.type('two')
  await p.button('Send').tap()
  await p.ended()
  assert.equal(await page.locator('.said').innerText(), 'One\ntwo')
  for (const name of ['none', 'Settings', 'Earlier chats']) {
    if (name !== 'none') await p.button(name).tap()
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.getElementById('scroll').scrollWidth <= innerWidth), name)
    await page.keyboard.press('Escape')
  }
  const sizes = await page.evaluate(() => [...document.querySelectorAll('textarea, input, select')].map((f) => parseFloat(getComputedStyle(f).fontSize)))
  assert.ok(sizes.filter((s) => s < 16).length === 0, `fields of ${sizes} px`)
  for (const box of await page.locator('nav button, #send').evaluateAll((list) => list.map((b) => b.getBoundingClientRect().toJSON()))) assert.ok(box.width >= 40 && box.height >= 40, JSON.stringify(box))
}, { url: () => played.url, viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true })

for (const colorScheme of ['light', 'dark']) {
  visit(`axe finds nothing, ${colorScheme}`, async (p, page) => {
    const check = async (where) => {
      const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
      assert.deepEqual(found.violations.map((v) => `${where}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.target).join(' ')}`), [])
    }
    await page.addScriptTag({ path: axe })
    await check('welcome')
    played.answers.push({ chunks: [
      delta({ reasoning_content: 'Hm.' }), delta({ content: '# A\n\n[b](https://example.com) `c`\n\n```go\nd\n```\n\n| e | f |\n|---|---|\n| 1 | 2 |\n\n> g' }),
      delta({ tool_calls: [{ index: 0, id: '1', function: { name: 'look', arguments: '{}' } }] }), delta({}, 'tool_calls'), usage(1, 1),
    ] })
    await p.say('Hello')
    await p.ended()
    await page.getByText(/^Thought for/).click()
    await check('answer')
    played.answers.push({ status: 500, message: 'broken' })
    await p.say('Again')
    await p.page.getByText('Broken.').first().waitFor()
    await p.button('Edit').first().click()
    await check('problem and editor')
    for (const name of ['Settings', 'Earlier chats', 'builtin']) {
      await p.button(name).click()
      await check(name)
      await page.keyboard.press('Escape')
    }
  }, { url: () => played.url, colorScheme, bypassCSP: true, reducedMotion: 'reduce', faults: [/Failed to load resource/] })
}
