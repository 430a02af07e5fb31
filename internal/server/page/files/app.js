// The page: one conversation with the model of this server.

import * as api from './api.js'
import { el } from './markdown.js'
import * as settings from './settings.js'
import * as storage from './storage.js'
import * as view from './view.js'

const $ = (id) => document.getElementById(id)
const [input, log, scroller, latest] = [$('input'), $('log'), $('scroll'), $('latest')]

let chat = storage.openChat()
let model = null // as /v1/models tells
let running = null // {abort, message, turn} of the answer that streams
const turns = new WeakMap() // the element of each answer
let follow = true // keep the end of the conversation in sight

// toInput goes where the next message is written, unless that would cover half
// of the screen with a keyboard.
const toInput = () => view.touch.matches || input.focus()

const say = (text) => ($('status').textContent = text)

// --- the conversation ---

const actions = {
  edit(message, text) {
    cutBefore(message)
    ask(text)
  },
  again(message) {
    cutBefore(message)
    show()
    answer()
  },
  result(message, call, text) {
    const behind = chat.messages.indexOf(message) + 1
    const before = message.calls.slice(0, message.calls.indexOf(call)).filter((c) => result(message)(c.id) !== undefined)
    chat.messages.splice(behind + before.length, 0, { role: 'tool', id: call.id, content: text })
    save()
    turns.get(message).update(false)
    const open = message.calls.some((c) => result(message)(c.id) === undefined)
    const last = !chat.messages.slice(behind).some((m) => m.role !== 'tool')
    if (open) turns.get(message).querySelector('.call textarea').focus()
    else if (last && !running) answer()
  },
  key: () => settings.open(model?.facts, { focus: 'key' }),
}

// result finds what a tool answered to a call of a message: it stands behind it.
const result = (message) => (id) => {
  const behind = chat.messages.slice(chat.messages.indexOf(message) + 1)
  const end = behind.findIndex((m) => m.role !== 'tool')
  return behind.slice(0, end < 0 ? undefined : end).find((m) => m.id === id)?.content
}

// cutBefore takes a message, and all behind it, out of the conversation.
function cutBefore(message) {
  stop()
  chat.messages.length = chat.messages.indexOf(message)
  toInput()
}

function turnOf(message) {
  if (message.role === 'user') return view.userTurn(message, actions)
  const turn = view.answerTurn(message, result(message), actions)
  turns.set(message, turn)
  turn.update(message === running?.message)
  return turn
}

// show draws the whole conversation.
function show() {
  log.replaceChildren(...chat.messages.filter((m) => m.role !== 'tool').map(turnOf))
  $('welcome').hidden = chat.messages.length > 0
  document.title = chat.messages.length ? `${storage.title(chat)} · Godwit` : 'Godwit'
  showCounts()
  toEnd()
}

function save(which = chat) {
  if (!which.removed && !storage.saveChat(which)) say('This browser has no room left to keep the conversation.')
}

function ask(text) {
  chat.messages.push({ role: 'user', content: text })
  follow = true
  show()
  answer()
}

// request is what the server is asked. An answer that failed before it began
// is not part of it.
function request() {
  const messages = settings.opening()
  for (const m of chat.messages) {
    if (m.role === 'user') messages.push({ role: 'user', content: m.content })
    else if (m.role === 'tool') messages.push({ role: 'tool', tool_call_id: m.id, content: m.content })
    else if (m.content || m.calls.length) messages.push(spoken(m))
  }
  return { ...settings.fields(model?.facts), ...(model && { model: model.id }), messages }
}

// spoken is an answer as the model gets to see it again. Calls that nobody
// answered are left out: templates do not know what to make of them.
function spoken(m) {
  const out = { role: 'assistant', content: m.content }
  if (m.reasoning) out.reasoning_content = m.reasoning
  const answered = m.calls.filter((c) => result(m)(c.id) !== undefined)
  if (answered.length) out.tool_calls = answered.map((c) => ({ id: c.id, type: 'function', function: { name: c.name, arguments: c.arguments } }))
  return out
}

// answer lets the model speak.
async function answer() {
  const body = request()
  const message = { role: 'assistant', content: '', reasoning: '', calls: [] }
  const within = chat
  chat.messages.push(message)
  chat.changed = Date.now()
  save()
  const mine = (running = { abort: new AbortController(), message, clock: { begin: performance.now(), chunks: 0 } })
  mine.turn = turnOf(message)
  log.append(mine.turn)
  setRunning(true)
  const outcome = await listen(mine, body)
  message.stats = summary(mine.clock)
  Object.assign(message, outcome)
  mine.turn.update(false)
  save(within)
  if (running === mine) finish(message)
  else if (!running) showCounts()
}

// listen takes the answer in and returns how it ended.
async function listen(mine, body) {
  try {
    for await (const chunk of api.chat(body, mine.abort.signal)) take(mine, chunk)
    return { finish: mine.message.finish }
  } catch (e) {
    if (e.name === 'AbortError') return { finish: 'stopped' }
    if (!(e instanceof api.Fault)) throw e
    if (e.loading || e.wantsKey || !e.status) meet()
    return { error: e.message, wantsKey: e.wantsKey }
  }
}

function take({ message, turn, clock }, chunk) {
  const now = performance.now()
  if (chunk.usage) clock.usage = chunk.usage
  const choice = chunk.choices[0]
  if (!choice) return
  const { content, reasoning_content: reasoning, tool_calls: calls = [] } = choice.delta
  if (content || reasoning || calls.length) {
    clock.first ??= now
    clock.last = now
    clock.chunks++
  }
  if (reasoning) message.reasoning += reasoning
  else if (message.reasoning && (content || calls.length)) clock.thought ??= now
  message.content += content ?? ''
  for (const c of calls) addCall(message.calls, c)
  message.finish = choice.finish_reason ?? message.finish
  draw(turn)
}

function addCall(calls, { index, id, function: f }) {
  calls[index] ??= { id, name: '', arguments: '' }
  calls[index].name += f.name ?? ''
  calls[index].arguments += f.arguments ?? ''
}

// summary turns the clock of an answer into what is kept of it.
function summary({ begin, first, last, thought, chunks, usage }) {
  if (first === undefined) return null
  return {
    tokens: usage?.completion_tokens ?? chunks, exact: Boolean(usage), ms: last - first, first: first - begin,
    thought: thought && thought - begin, prompt: usage?.prompt_tokens, cached: usage?.prompt_tokens_details?.cached_tokens, total: usage?.total_tokens,
  }
}

// draw shows the answer as it is now, once a frame.
let frame = 0
let saved = 0
function draw(turn) {
  frame ||= requestAnimationFrame((now) => {
    frame = 0
    if (!running || running.turn !== turn) return
    turn.update(true)
    $('counts').textContent = view.speed(summary(running.clock))
    toEnd()
    if (now - saved > 1000) {
      saved = now
      save()
    }
  })
}

function finish(message) {
  running = null
  setRunning(false)
  showCounts()
  toEnd()
  if (message.error) say(message.error)
  else say(message.finish === 'stopped' ? 'Stopped.' : `The answer is complete: ${view.speed(message.stats)}.`)
}

// stop ends the answer that streams; what came so far stays.
function stop() {
  if (!running) return
  const { abort, message } = running
  running = null
  message.finish = 'stopped'
  abort.abort()
  setRunning(false)
  say('Stopped.')
}

function setRunning(on) {
  document.body.classList.toggle('busy', on)
  log.setAttribute('aria-busy', on)
  for (const [name, value] of [['aria-label', on ? 'Stop' : 'Send'], ['title', on ? 'Stop (Esc)' : 'Send']]) $('send').setAttribute(name, value)
  if (on) say('The model is answering.')
}

function showCounts() {
  const used = chat.messages.findLast((m) => m.stats?.total)?.stats.total
  const room = model?.max_model_len
  $('counts').textContent = used ? `${view.count(used)}${room ? ` of ${view.count(room)}` : ''} tokens of context` : ''
}

// --- scrolling ---

function toEnd() {
  if (follow) scroller.scrollTop = scroller.scrollHeight
  latest.hidden = follow
}

scroller.addEventListener('scroll', () => {
  follow = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48
  latest.hidden = follow
}, { passive: true })
latest.addEventListener('click', () => {
  follow = true
  toEnd()
  toInput()
})
new ResizeObserver(toEnd).observe(scroller)

// --- the model ---

// meet asks the server what it serves, until it answers.
let meeting = 0
async function meet() {
  clearTimeout(meeting)
  let state = ''
  try {
    model = (await api.models())[0]
    if (!model.facts) state = await progress()
  } catch (e) {
    state = e.wantsKey ? 'wants a key' : e.status ? e.message : 'not reachable'
  }
  $('model-name').textContent = model?.id ?? 'Godwit'
  $('model-state').textContent = state
  $('about').textContent = about(state)
  showCounts()
  if (state && state !== 'wants a key') meeting = setTimeout(meet, 1500)
}

async function progress() {
  const now = await api.ready()
  if (now?.status === 'failed') return 'has failed'
  return `loading, ${Math.round((now?.loaded ?? 0) * 100)} %`
}

function about(state) {
  const facts = model?.facts
  if (!facts) return state === 'wants a key' ? 'This server asks for an API key: enter it under Settings.' : ''
  return `${model.id} has ${view.short(facts.parameters, ['', ' thousand', ' million', ' billion', ' trillion'])} parameters and runs on ${facts.device.split(',')[0]}. The conversation stays between this browser and this server.`
}

function showFacts() {
  const f = model?.facts
  const rows = !f ? [['State', $('model-state').textContent || 'unknown']] : [
    ['Name', model.id], ['Architecture', f.architecture], ['Parameters', `${view.short(f.parameters)} (${view.count(f.parameters)})`],
    ['Weights', view.bytes(f.weight_bytes)], ['Context', view.tokens(model.max_model_len)], ['Vocabulary', view.tokens(f.vocabulary)],
    ['Runs on', f.device], ['At a time', `${view.count(f.max_sequences)} requests`],
    ['Reasoning', !f.reasons ? 'no' : f.switches_thinking ? 'can be switched' : 'yes'], ['Replies', f.format],
    ['Sampling', f.sampling.temperature ? `temperature ${f.sampling.temperature}, top-p ${f.sampling.top_p}` : 'most likely token'],
  ]
  $('facts').replaceChildren(...rows.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]))
  $('facts-dialog').showModal()
}

// --- chats ---

function enter(other) {
  stop()
  chat = other
  follow = true
  storage.setOpen(chat)
  show()
  toInput()
}

function showHistory() {
  const list = storage.listChats()
  $('chats').replaceChildren(...(list.length ? list.map(chatRow) : [el('li', {}, 'None yet.')]))
  $('history-dialog').showModal()
}

function chatRow(c) {
  const open = () => {
    $('history-dialog').close()
    enter(c)
  }
  const remove = (e) => {
    storage.removeChat(c.id)
    if (c.id === chat.id) {
      chat.removed = true
      enter(storage.newChat())
    }
    const undo = () => {
      storage.write('chat.' + c.id, c)
      row.replaceWith(chatRow(c))
    }
    row.replaceChildren(el('span', { class: 'gone' }, 'Deleted'), el('button', { type: 'button', on: { click: undo } }, 'Undo'))
    row.lastChild.focus()
    e.preventDefault()
  }
  const when = new Date(c.changed)
  const row = el('li', {},
    el('button', { type: 'button', class: 'open', 'aria-current': c.id === chat.id ? 'true' : undefined, on: { click: open } },
      el('span', { class: 'title' }, storage.title(c)), el('time', { datetime: when.toISOString() }, when.toLocaleDateString(undefined, { day: 'numeric', month: 'short' }))),
    el('button', { type: 'button', 'aria-label': `Delete ${storage.title(c)}`, on: { click: remove } }, 'Delete'))
  return row
}

// --- controls ---

const themes = ['', 'light', 'dark']
function showTheme(theme) {
  document.documentElement.dataset.theme = theme
  const label = `Theme: ${theme || 'as the system'}`
  $('theme').title = label
  $('theme').setAttribute('aria-label', label)
}

$('theme').addEventListener('click', () => {
  const theme = themes[(themes.indexOf(document.documentElement.dataset.theme ?? '') + 1) % themes.length]
  try {
    localStorage.setItem('godwit.theme', theme)
  } catch { /* holds until the page is left */ }
  showTheme(theme)
  say($('theme').title)
})

$('composer').addEventListener('submit', (e) => {
  e.preventDefault()
  if (running) return stop()
  const text = input.value.trim()
  if (!text) return
  input.value = ''
  input.dispatchEvent(new Event('input'))
  ask(text)
})
input.addEventListener('keydown', (e) => {
  if (!view.sends(e)) return
  e.preventDefault()
  if (!running) $('composer').requestSubmit()
})
document.addEventListener('keydown', (e) => {
  if (e.key !== 'Escape' || !running || document.querySelector('dialog[open]')) return
  e.preventDefault()
  stop()
})
document.addEventListener('click', (e) => {
  if (e.target.dataset?.copy) view.copy(e.target, e.target.closest('figure').querySelector('code').textContent)
})
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.addEventListener('click', (e) => e.target === dialog && dialog.close())
}
$('new').addEventListener('click', () => enter(storage.newChat()))
$('history').addEventListener('click', showHistory)
$('settings').addEventListener('click', () => settings.open(model?.facts))
$('model').addEventListener('click', showFacts)
settings.onSaved(() => {
  say('Settings saved.')
  meet()
})
addEventListener('pagehide', () => running && save())

const starters = ['Tell me of a journey down a river.', 'How does a godwit find its way across an ocean?', 'Write a short poem about a lighthouse.']
$('starters').replaceChildren(...starters.map((text) => el('li', {}, el('button', { type: 'button', on: { click: () => running || ask(text) } }, text))))

showTheme(document.documentElement.dataset.theme ?? '')
view.grow(input)
storage.setOpen(chat)
show()
meet()
