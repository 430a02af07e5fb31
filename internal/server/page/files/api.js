// The server's API, and its failures in words.

import * as storage from './storage.js'

// Fault is an error that can be shown as it is.
export class Fault extends Error {
  constructor(message, { status = 0, wantsKey = false, loading = false } = {}) {
    super(message)
    Object.assign(this, { status, wantsKey, loading })
  }
}

export const key = {
  get: () => storage.read('key', null, sessionStorage) ?? storage.read('key', ''),
  remembered: () => storage.read('key', null) !== null,
  set(value, remember) {
    storage.write('key', value || null, sessionStorage)
    storage.write('key', remember && value ? value : null)
  },
}

async function call(path, options = {}) {
  const headers = { ...options.headers }
  if (key.get()) headers.Authorization = 'Bearer ' + key.get()
  let answer
  try {
    answer = await fetch(path, { ...options, headers, cache: 'no-store' })
  } catch (e) {
    if (e.name === 'AbortError') throw e
    if (e instanceof TypeError && !/fetch|network|load/i.test(e.message)) throw new Fault(`The request cannot be sent: ${e.message}.`)
    throw new Fault('The server cannot be reached. Is godwit serve still running?')
  }
  if (answer.ok) return answer
  throw await refusal(answer)
}

// refusal says why the server did not answer.
async function refusal(answer) {
  const { status } = answer
  const body = await answer.json().catch(() => null)
  const said = body?.error?.message
  const wait = answer.headers.get('Retry-After')
  if (status === 401) {
    return new Fault(key.get() ? 'The server does not accept this API key.' : 'This server asks for an API key.', { status, wantsKey: true })
  }
  if (status === 429) return new Fault(`The server is busy${wait ? `: try again in ${wait} s` : ''}.`, { status })
  if (body?.error?.code === 'loading') return new Fault('The model is still being loaded. Try again in a moment.', { status, loading: true })
  return new Fault(said ? sentence(said) : `The server answered with status ${status}.`, { status })
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.')

// models returns the names under which the model is served, with its facts.
export const models = async () => (await (await call('v1/models')).json()).data

// ready returns how far the server is: {status, loaded}.
export async function ready() {
  const answer = await fetch('ready', { cache: 'no-store' }).catch(() => null)
  return answer ? answer.json().catch(() => null) : null
}

// chat sends a request and yields the chunks of the answer. It throws where
// the answer ends before the server said that it is whole.
export async function* chat(body, signal) {
  const answer = await call('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  })
  const parser = eventParser()
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) break
      for (const data of parser(value)) {
        if (data === '[DONE]') return
        const chunk = JSON.parse(data)
        if (chunk.error) throw new Fault(sentence(chunk.error.message))
        yield chunk
      }
    }
  } catch (e) {
    if (e.name === 'AbortError' || e instanceof Fault) throw e
  } finally {
    reader.cancel().catch(() => {})
  }
  throw new Fault('The connection broke before the answer was complete.')
}

// eventParser returns a function that takes a stream of server-sent events in
// pieces, cut anywhere, and returns the data of those that became complete.
export function eventParser() {
  let rest = ''
  let data = []
  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()
    const events = []
    for (const line of lines) {
      if (line === '') {
        if (data.length) events.push(data.join('\n'))
        data = []
      } else if (line.startsWith('data:')) {
        data.push(line.slice(line[5] === ' ' ? 6 : 5))
      }
    }
    return events
  }
}
