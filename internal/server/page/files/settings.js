// The settings: what they are, and their dialog.

import { key } from './api.js'
import * as storage from './storage.js'
import { touch } from './view.js'

const dialog = document.getElementById('settings-dialog')
const form = document.getElementById('settings-form')
const problem = document.getElementById('settings-error')
const numbers = ['temperature', 'top_p', 'max_tokens', 'seed']

let settings = storage.read('settings', {})

// fields returns the part of a request that the settings make. What was left
// empty is the model's to decide.
export function fields(facts) {
  const out = {}
  for (const name of numbers) if (Number.isFinite(settings[name])) out[name] = settings[name]
  if (settings.tools?.length) out.tools = settings.tools
  if (settings.thinking && facts?.switches_thinking) out.chat_template_kwargs = { enable_thinking: settings.thinking === 'on' }
  return out
}

// opening returns the messages in front of a conversation.
export const opening = () => (settings.system ? [{ role: 'system', content: settings.system }] : [])

// open shows the dialog; focus is the field to begin in.
export function open(facts, { focus = '' } = {}) {
  fill(settings)
  form.key.value = key.get()
  form.remember.checked = key.remembered()
  form.temperature.placeholder = facts ? `${facts.sampling.temperature}` : ''
  form.top_p.placeholder = facts ? `${facts.sampling.top_p}` : ''
  document.getElementById('thinking-row').hidden = !facts?.switches_thinking
  say('')
  dialog.showModal()
  const begin = form[focus] ?? (touch.matches ? document.getElementById('settings-title') : form.system)
  begin.focus()
}

// onSaved calls f after the dialog was left with new settings.
export const onSaved = (f) => dialog.addEventListener('saved', f)

function fill(from) {
  form.reset()
  form.system.value = from.system ?? ''
  form.thinking.value = from.thinking ?? ''
  form.tools.value = from.tools?.length ? JSON.stringify(from.tools, null, 2) : ''
  for (const name of numbers) form[name].value = from[name] ?? ''
  document.getElementById('tools-row').open = Boolean(from.tools?.length)
}

function say(text) {
  problem.textContent = text
  problem.hidden = !text
  for (const field of form.elements) field.removeAttribute('aria-invalid')
}

// complain names what is wrong with a field and goes there.
function complain(field, text) {
  say(text)
  field.closest('details')?.setAttribute('open', '')
  field.setAttribute('aria-invalid', 'true')
  field.focus()
}

// collect reads the form; null where something is wrong with it.
function collect() {
  const out = { system: form.system.value.trim(), thinking: form.thinking.value }
  for (const name of numbers) {
    const field = form[name]
    if (!field.validity.valid) return complain(field, wrongNumber(field))
    if (field.value !== '') out[name] = Number(field.value)
  }
  try {
    out.tools = tools(form.tools.value)
  } catch (e) {
    return complain(form.tools, e.message)
  }
  return out
}

function wrongNumber(field) {
  const label = field.labels[0].textContent.trim()
  const range = field.max ? `from ${field.min} to ${field.max}` : field.min ? `of at least ${field.min}` : ''
  return `${label} must be a ${field.step === '1' ? 'whole ' : ''}number ${range}`.trim() + '.'
}

function tools(text) {
  if (!text.trim()) return []
  let list
  try {
    list = JSON.parse(text)
  } catch (e) {
    throw new Error(`Tools are not JSON: ${e.message}.`)
  }
  if (!Array.isArray(list)) throw new Error('Tools must be a JSON list.')
  list.forEach((t, i) => {
    if (t?.type !== 'function' || !t.function?.name) throw new Error(`Tool ${i + 1} needs "type": "function" and a "function" with a "name".`)
  })
  return list
}

form.addEventListener('submit', (event) => {
  event.preventDefault()
  const collected = collect()
  if (!collected) return
  settings = collected
  key.set(form.key.value.trim(), form.remember.checked)
  storage.write('settings', settings)
  dialog.close()
  dialog.dispatchEvent(new Event('saved'))
})
document.getElementById('cancel').addEventListener('click', () => dialog.close())
document.getElementById('defaults').addEventListener('click', () => {
  fill({})
  say('')
  form.system.focus()
})
