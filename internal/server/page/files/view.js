// Messages to elements.

import { el, render } from './markdown.js'

const whole = new Intl.NumberFormat('en')
export const count = (n) => whole.format(Math.round(n))
export const tokens = (n) => `${count(n)} token${n === 1 ? '' : 's'}`

// short writes 656000 as 656 K, 31600000000 as 31.6 B.
export const short = (n, units = ['', ' K', ' M', ' B', ' T'], base = 1000) => {
  let i = 0
  for (; n >= base && i < units.length - 1; i++) n /= base
  return `${n >= 100 || i === 0 ? Math.round(n) : n.toFixed(1)}${units[i]}`
}
export const bytes = (n) => short(n, [' bytes', ' KiB', ' MiB', ' GiB', ' TiB'], 1024)
const duration = (ms) => (ms < 950 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

// speed says how long an answer is and how fast it came.
export function speed(stats) {
  if (!stats?.tokens) return ''
  const about = stats.exact ? '' : 'about '
  const rate = stats.tokens > 1 && stats.ms > 2 ? ` at ${count((stats.tokens - 1) / (stats.ms / 1000))}/s` : ''
  return about + tokens(stats.tokens) + rate
}

const details = (stats) => [
  stats.first === undefined ? '' : `first after ${duration(stats.first)}`,
  stats.prompt ? `prompt of ${count(stats.prompt)}${stats.cached ? `, ${count(stats.cached)} of them remembered` : ''}` : '',
].filter(Boolean)

const button = (label, click, more = {}) => el('button', { type: 'button', ...more, on: { click } }, label)

// userTurn shows what the user said.
export function userTurn(message, actions) {
  const turn = el('article', { class: 'turn user', 'aria-label': 'You' })
  const show = () => turn.replaceChildren(
    el('div', { class: 'said' }, message.content),
    el('div', { class: 'actions' }, button('Copy', (e) => copy(e.target, message.content)), button('Edit', edit)))
  const edit = () => {
    const { form, begin } = editor(message.content, (text) => actions.edit(message, text), () => {
      show()
      turn.querySelector('.actions button:last-child').focus()
    })
    turn.replaceChildren(form)
    begin()
  }
  show()
  return turn
}

// editor changes a text: Enter sends it again, Escape leaves it. Call begin once
// the form is on the page.
function editor(text, send, cancel) {
  const field = el('textarea', { 'aria-label': 'Edit the message', rows: 1 })
  field.value = text
  const submit = (e) => {
    e.preventDefault()
    if (field.value.trim()) send(field.value.trim())
  }
  const form = el('form', { class: 'editor', on: { submit } }, field,
    el('div', { class: 'buttons' }, button('Cancel', cancel), el('button', { class: 'primary' }, 'Send again')))
  form.addEventListener('keydown', (e) => {
    if (e.key === 'Escape') {
      e.stopPropagation()
      cancel()
    } else if (sends(e) && e.target === field) submit(e)
  })
  grow(field)
  const begin = () => {
    field.focus()
    field.setSelectionRange(text.length, text.length)
    field.dispatchEvent(new Event('input'))
  }
  return { form, begin }
}

// touch matches on a screen whose keyboard comes and goes with the focus.
export const touch = matchMedia('(hover: none) and (pointer: coarse)')

// sends reports whether a key stands for sending: not within the composition
// of a character, nor on a phone's keyboard, which has no Shift Enter.
export const sends = (e) => e.key === 'Enter' && !e.shiftKey && !e.isComposing && e.keyCode !== 229 && !touch.matches

// grow makes a field as high as its text.
export function grow(field) {
  field.addEventListener('input', () => {
    field.style.height = 'auto'
    field.style.height = field.scrollHeight + 'px'
  })
}

// answerTurn shows what the model answers; its update method shows more of it.
export function answerTurn(message, results, actions) {
  const thought = el('div', { class: 'prose' })
  const summary = el('summary', {})
  const reasoning = el('details', { class: 'reasoning' }, summary, thought)
  const content = el('div', { class: 'prose content' })
  const calls = el('div', { class: 'calls' })
  const end = el('div')
  const turn = el('article', { class: 'turn answer', 'aria-label': 'Answer' }, reasoning, content, calls, end)
  reasoning.addEventListener('toggle', () => reasoning.open && render(thought, message.reasoning))
  turn.update = (running) => {
    const waits = running && !message.content && !message.calls.length
    turn.classList.toggle('running', running)
    turn.classList.toggle('waits', Boolean(waits && !message.reasoning))
    reasoning.hidden = !message.reasoning
    summary.textContent = waits ? 'Thinking…' : message.stats?.thought ? `Thought for ${duration(message.stats.thought)}` : 'Reasoning'
    if (reasoning.open) render(thought, message.reasoning)
    render(content, message.content)
    showCalls(calls, message, results, running, actions)
    if (!running) end.replaceChildren(...ending(message, actions))
  }
  return turn
}

// ending is what stands below an answer that is over.
function ending(message, actions) {
  const out = []
  const again = () => actions.again(message)
  if (message.error) {
    const offers = [button('Try again', again)]
    if (message.wantsKey) offers.unshift(button('Enter the key', actions.key))
    out.push(el('div', { class: 'problem' }, el('span', {}, message.error), el('span', { class: 'buttons' }, ...offers)))
  }
  const note = { stopped: 'Stopped', length: 'Ended at the limit of tokens' }[message.finish]
  const row = el('div', { class: 'actions' })
  if (message.content) row.append(button('Copy', (e) => copy(e.target, message.content)))
  if (!message.error) row.append(button('Regenerate', again))
  const facts = [note, speed(message.stats)].filter(Boolean)
  const more = message.stats ? details(message.stats) : []
  row.append(el('span', { class: 'stats' }, facts.join(', '), el('span', { class: 'more' }, ...more.map((t) => ', ' + t))))
  return [...out, row]
}

// showCalls shows each call with its arguments, and its result or a field for
// one. Cards stay, so that what is typed into one is not lost.
function showCalls(node, message, results, running, actions) {
  message.calls.forEach((call, i) => {
    node.children[i] ?? node.append(callCard(call, message, results, actions))
    node.children[i].update(running)
  })
}

function callCard(call, message, results, actions) {
  const name = el('code', {})
  const args = el('pre', { tabindex: 0, role: 'group', 'aria-label': 'Arguments' })
  const answer = el('div')
  const card = el('section', { class: 'call', 'aria-label': 'Tool call' }, el('p', { class: 'call-name' }, 'Calls ', name), args, answer)
  card.update = (running) => {
    name.textContent = call.name
    args.textContent = running ? call.arguments : pretty(call.arguments)
    const result = results(call.id)
    if (running || (answer.firstChild && answer.shown === result)) return
    answer.shown = result
    answer.replaceChildren(result === undefined ? resultForm(call, message, actions) : el('pre', { tabindex: 0, role: 'group', 'aria-label': 'Result' }, result))
  }
  return card
}

function resultForm(call, message, actions) {
  const field = el('textarea', { rows: 2, 'aria-label': `Result of ${call.name}`, placeholder: 'What the tool answers' })
  const submit = (e) => {
    e.preventDefault()
    actions.result(message, call, field.value)
  }
  return el('form', { class: 'editor', on: { submit } }, field, el('div', { class: 'buttons' }, el('button', { class: 'primary' }, 'Answer the call')))
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2)
  } catch {
    return json
  }
}

// copy puts a text on the clipboard and says so on the button. Browsers have
// no clipboard for pages that came without TLS, but an old command.
export async function copy(from, text) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text)
    else oldCopy(text)
    flash(from, 'Copied')
  } catch {
    flash(from, 'Not allowed')
  }
  from.focus()
}

function oldCopy(text) {
  const field = el('textarea', { class: 'hidden' })
  field.value = text
  document.body.append(field)
  field.select()
  const done = document.execCommand('copy')
  field.remove()
  if (!done) throw new Error('refused')
}

function flash(node, text) {
  node.dataset.label ??= node.textContent
  node.textContent = text
  clearTimeout(node.timer)
  node.timer = setTimeout(() => (node.textContent = node.dataset.label), 1500)
}
