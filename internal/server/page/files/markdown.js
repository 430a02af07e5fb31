// Markdown to elements. Text reaches the document as text nodes alone, never
// as markup. What is not understood is shown as it was written.

// blocks cuts a text into {kind, text, …}. An unclosed fence runs to the end,
// which is what a text looks like while it streams.
export function blocks(text) {
  const lines = text.replace(/\r\n?/g, '\n').split('\n')
  const out = []
  let i = 0
  while (i < lines.length) {
    const rule = rules.find((r) => r.starts(lines, i))
    if (!rule) {
      i++ // an empty line
      continue
    }
    const [block, next] = rule.take(lines, i)
    out.push({ ...block, text: lines.slice(i, next).join('\n') })
    i = next
  }
  return out
}

const fence = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/
const heading = /^ {0,3}(#{1,6})\s+(.*)$/
const break_ = /^ {0,3}([-*_])(\s*\1){2,}\s*$/
const quote = /^ {0,3}> ?/
const item = /^(\s*)([-*+]|\d{1,9}[.)])(\s+|$)/
const divider = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/

const rules = [
  { starts: (l, i) => fence.test(l[i]), take: takeFence },
  { starts: (l, i) => heading.test(l[i]), take: (l, i) => [{ kind: 'heading', level: heading.exec(l[i])[1].length, content: heading.exec(l[i])[2].trim().replace(/(^|\s)#+$/, '').trim() }, i + 1] },
  { starts: (l, i) => break_.test(l[i]), take: (l, i) => [{ kind: 'break' }, i + 1] },
  { starts: (l, i) => quote.test(l[i]), take: takeQuote },
  { starts: (l, i) => item.test(l[i]), take: takeList },
  { starts: (l, i) => l[i].includes('|') && divider.test(l[i + 1] ?? '') && cells(l[i]).length === cells(l[i + 1]).length, take: takeTable },
  { starts: (l, i) => l[i].trim() !== '', take: takeParagraph },
]

function takeFence(lines, i) {
  const [, mark, info] = fence.exec(lines[i])
  const indent = lines[i].search(/\S/)
  const body = []
  let next = i + 1
  for (; next < lines.length; next++) {
    const end = lines[next].trim()
    if (end.length >= mark.length && end === mark[0].repeat(end.length)) {
      next++
      break
    }
    body.push(lines[next].replace(new RegExp(`^ {0,${indent}}`), ''))
  }
  return [{ kind: 'code', language: info.trim().split(/\s+/)[0], content: body.join('\n') }, next]
}

function takeQuote(lines, i) {
  const start = i
  while (i < lines.length && quote.test(lines[i])) i++
  return [{ kind: 'quote', blocks: blocks(lines.slice(start, i).map((l) => l.replace(quote, '')).join('\n')) }, i]
}

// takeList takes the items of one list; what is indented below an item
// belongs to it.
function takeList(lines, i) {
  const first = item.exec(lines[i])
  const ordered = /\d/.test(first[2])
  const items = []
  while (i < lines.length) {
    const found = item.exec(lines[i])
    if (!found || found[1].length > first[1].length + 3 || /\d/.test(found[2]) !== ordered || break_.test(lines[i])) break
    const indent = found[1].length + found[2].length + 1
    const body = [lines[i].slice(found[0].length)]
    for (i++; i < lines.length && belongs(lines, i, Math.min(indent, found[1].length + 2)); i++) {
      body.push(lines[i].replace(new RegExp(`^\\s{0,${indent}}`), ''))
    }
    items.push(blocks(body.join('\n')))
    while (i + 1 < lines.length && lines[i].trim() === '' && item.test(lines[i + 1])) i++
  }
  return [{ kind: 'list', ordered, start: ordered ? parseInt(first[2], 10) : 0, items }, i]
}

// belongs reports whether line i goes on with the item above: it is indented,
// or a wrapped line, or an empty line with an indented one behind it.
function belongs(lines, i, indent) {
  const depth = (line) => line.search(/\S/)
  if (lines[i].trim() === '') return i + 1 < lines.length && depth(lines[i + 1]) >= indent
  if (depth(lines[i]) >= indent) return true
  return lines[i - 1].trim() !== '' && !rules.slice(0, -2).some((r) => r.starts(lines, i))
}

const cells = (line) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((c) => c.trim().replace(/\\\|/g, '|'))

function takeTable(lines, i) {
  const head = cells(lines[i])
  const align = cells(lines[i + 1]).map((c) => (c.endsWith(':') ? (c.startsWith(':') ? 'center' : 'right') : ''))
  const rows = []
  for (i += 2; i < lines.length && lines[i].includes('|'); i++) rows.push(cells(lines[i]))
  return [{ kind: 'table', head, align, rows }, i]
}

function takeParagraph(lines, i) {
  const start = i++
  while (i < lines.length && !rules.slice(0, -1).some((r) => r.starts(lines, i)) && lines[i].trim() !== '') i++
  return [{ kind: 'paragraph', content: unwrap(lines.slice(start, i)) }, i]
}

// unwrap joins lines that were wrapped because they were full, and keeps the
// ends of short ones, as in verse and addresses.
function unwrap(lines) {
  return lines.reduce((text, line, i) => {
    if (i === 0) return line.trimStart()
    const hard = /( {2}|\\)$/.test(text) || lines[i - 1].trim().length < 60
    return text.replace(/(\s+|\\)$/, '') + (hard ? '\n' : ' ') + line.trim()
  }, '')
}

// The parts of a line, in the order in which they are tried at each place.
const parts = [
  { kind: 'code', match: /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/y, group: 2 },
  { kind: 'escape', match: /\\([!-/:-@[-`{-~])/y, group: 1 },
  { kind: 'strong', match: /\*\*(?=\S)([\s\S]*?\S)\*\*(?!\*)/y, group: 1 },
  { kind: 'strong', match: /(?<!\w)__(?=\S)([\s\S]*?\S)__(?!\w)/y, group: 1 },
  { kind: 'em', match: /\*(?![\s*])([\s\S]*?[^\s*])\*(?!\*)/y, group: 1 },
  { kind: 'em', match: /(?<!\w)_(?![\s_])([\s\S]*?[^\s_])_(?!\w)/y, group: 1 },
  { kind: 'del', match: /~~(?=\S)([\s\S]*?\S)~~/y, group: 1 },
  { kind: 'link', match: /\[([^\[\]]+)\]\(\s*(\S+?)(?:\s+"[^"]*")?\s*\)/y, group: 1, href: 2 },
  { kind: 'link', match: /(?<!\w)https?:\/\/[^\s<>"'`\]]*[^\s<>"'`\].,;:!?)*_]/y, group: 0, href: 0 },
]

// inline cuts a line into strings and {kind, …}.
export function inline(text) {
  const out = []
  let plain = ''
  for (let i = 0; i < text.length; ) {
    const found = /[`\\*_~[h]/.test(text[i]) && partAt(text, i)
    if (!found) {
      plain += text[i++]
      continue
    }
    i += found.length
    if (found.kind === 'escape') {
      plain += found.text
      continue
    }
    if (plain) out.push(plain)
    plain = ''
    out.push(found.part)
  }
  if (plain) out.push(plain)
  return out
}

function partAt(text, i) {
  for (const p of parts) {
    p.match.lastIndex = i
    const m = p.match.exec(text)
    if (!m) continue
    const href = p.href === undefined ? undefined : address(m[p.href])
    if (href === null) continue
    const leaf = p.kind === 'code' || p.kind === 'escape' || p.group === 0
    const inner = m[p.group]
    return { kind: p.kind, length: m[0].length, text: inner, part: { kind: p.kind, href, parts: leaf ? [inner] : inline(inner) } }
  }
  return null
}

// address returns where a link leads; null where that is not on the web.
function address(href) {
  try {
    const url = new URL(href)
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null
  } catch {
    return null
  }
}

// el makes an element; children are strings and nodes.
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'on') for (const [event, f] of Object.entries(value)) node.addEventListener(event, f)
    else if (value === true) node.setAttribute(key, '')
    else if (value !== undefined && value !== false && value !== null) node.setAttribute(key, value)
  }
  node.append(...children)
  return node
}

const phrase = (text) => inline(text).map(phrasing)

function phrasing(part) {
  if (typeof part === 'string') return part
  const children = part.parts.map(phrasing)
  if (part.kind === 'link') return el('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer' }, ...children)
  return el(part.kind, {}, ...children)
}

const makers = {
  heading: (b) => el(`h${Math.min(b.level + 1, 6)}`, {}, ...phrase(b.content)),
  paragraph: (b) => el('p', {}, ...phrase(b.content)),
  break: () => el('hr'),
  quote: (b) => el('blockquote', {}, ...b.blocks.map(make)),
  list: (b) => el(b.ordered ? 'ol' : 'ul', { start: b.ordered && b.start !== 1 ? b.start : undefined }, ...b.items.map(listItem)),
  table: (b) => el('div', { class: 'table', tabindex: 0, role: 'group', 'aria-label': 'Table' }, el('table', {}, el('thead', {}, row('th', b.head, b.align)), el('tbody', {}, ...b.rows.map((r) => row('td', r, b.align))))),
  code: codeBlock,
}

const make = (block) => makers[block.kind](block)

// listItem leaves out the paragraph of an item that is one.
function listItem(list) {
  if (list[0]?.kind !== 'paragraph') return el('li', {}, ...list.map(make))
  return el('li', {}, ...phrase(list[0].content), ...list.slice(1).map(make))
}

const row = (cell, list, align) => el('tr', {}, ...list.map((text, i) => el(cell, { class: align[i] || undefined }, ...phrase(text))))

function codeBlock(b) {
  const code = el('code', {}, b.content)
  return el('figure', { class: 'code' },
    el('figcaption', {}, el('span', {}, b.language || 'text'), el('button', { type: 'button', class: 'copy', 'data-copy': 'code' }, 'Copy')),
    el('pre', { tabindex: 0, role: 'group', 'aria-label': `Code, ${b.language || 'text'}` }, code))
}

// render shows a text in a node. Blocks that have not changed since the last
// time stay as they are, so that a stream costs its last block alone.
export function render(node, text) {
  const list = blocks(text)
  const old = node.shown ?? []
  list.forEach((block, i) => {
    if (old[i]?.text === block.text && old[i]?.kind === block.kind) return
    const made = make(block)
    if (node.children[i]) node.children[i].replaceWith(made)
    else node.append(made)
  })
  while (node.children.length > list.length) node.lastElementChild.remove()
  node.shown = list
}
