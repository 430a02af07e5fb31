// Processes that the suite talks to.
import { execFileSync, spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const root = new URL('../..', import.meta.url).pathname

// build returns the path of godwit, and what removes it.
export function build() {
  const dir = mkdtempSync(join(tmpdir(), 'page-'))
  const path = join(dir, 'godwit')
  execFileSync('go', ['build', '-o', path, './cmd/godwit'], { cwd: root, stdio: 'inherit', env: { ...process.env, CGO_ENABLED: '0' } })
  return { path, remove: () => rmSync(dir, { recursive: true }) }
}

// serve runs godwit serve with the built-in model until stop is called.
export async function serve(path, ...flags) {
  const child = spawn(path, ['serve', '--device', 'cpu', '--port', '0', '--log-level', 'info', ...flags], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  let log = ''
  child.stderr.on('data', (data) => (log += data))
  const url = await until(() => log.match(/url=(\S+)/)?.[1], () => `godwit serve does not listen: ${log}`)
  await until(async () => (await fetch(url + '/ready')).ok, () => `godwit serve does not get ready: ${log}`)
  return {
    url,
    log: () => log,
    stop() {
      child.kill('SIGKILL')
      return ended
    },
  }
}

async function until(test, complaint) {
  for (const end = Date.now() + 30_000; Date.now() < end; await pause(20)) {
    const got = await test()
    if (got) return got
  }
  throw new Error(complaint())
}

// script stands in front of a server. Answers to a conversation are what the
// test says: a list of chunks, which are sent in pieces of a few bytes, so that
// events and characters are cut everywhere. Everything else is the server's.
export async function script(url) {
  const self = { answers: [], requests: [], url: '', stop: () => new Promise((resolve) => (proxy.closeAllConnections(), proxy.close(resolve))) }
  const proxy = createServer(async (request, response) => {
    const body = await read(request)
    if (request.url !== '/v1/chat/completions') return pass(url, request, response)
    self.requests.push(JSON.parse(body))
    const answer = self.answers.shift()
    if (answer.status) {
      response.writeHead(answer.status, { 'Content-Type': 'application/json', ...answer.headers })
      return response.end(JSON.stringify({ error: { message: answer.message, code: null } }))
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    await trickle(response, Buffer.from(answer.chunks.map((c) => `data: ${JSON.stringify(c)}\n\n`).join('') + (answer.cut ? '' : 'data: [DONE]\n\n')))
    response.end()
  })
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  self.url = `http://127.0.0.1:${proxy.address().port}`
  return self
}

async function read(stream) {
  let text = ''
  for await (const piece of stream) text += piece
  return text
}

async function pass(url, request, response) {
  const answer = await fetch(url + request.url, { headers: { accept: '*/*' } })
  response.writeHead(answer.status, Object.fromEntries([...answer.headers].filter(([name]) => !['content-length', 'content-encoding', 'transfer-encoding'].includes(name))))
  response.end(Buffer.from(await answer.arrayBuffer()))
}

async function trickle(response, data) {
  for (let i = 0, n = 1; i < data.length && !response.destroyed; i += n, n = (n % 61) + 7) {
    response.write(data.subarray(i, i + n))
    await pause(1)
  }
}

// delta is one chunk of an answer.
export const delta = (delta, finish = null) => ({ choices: [{ index: 0, delta, finish_reason: finish }] })
export const usage = (prompt, completion) => ({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion } })
