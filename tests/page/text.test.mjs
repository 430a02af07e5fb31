// The parts of the page that need no browser: markdown, events.
import assert from 'node:assert/strict'
import test from 'node:test'
import { eventParser } from '../../internal/server/page/files/api.js'
import { blocks, inline } from '../../internal/server/page/files/markdown.js'

// brief writes blocks in a short form.
const brief = (b) => ({
  paragraph: () => b.content,
  heading: () => `h${b.level} ${b.content}`,
  break: () => '---',
  code: () => `code(${b.language}) ${b.content}`,
  quote: () => ['quote', ...b.blocks.map(brief)],
  list: () => [b.ordered ? `ol ${b.start}` : 'ul', ...b.items.map((i) => (i.length === 1 ? brief(i[0]) : i.map(brief)))],
  table: () => ['table', b.head, ...b.rows],
}[b.kind]())

const long = 'This line is as long as the lines of a text that was wrapped at some column'

for (const [name, text, want] of [
  ['nothing', '', []],
  ['empty lines', '\n \n', []],
  ['paragraphs', 'a\n\nb', ['a', 'b']],
  ['short lines end where they end', 'Tyger Tyger,\nburning bright', ['Tyger Tyger,\nburning bright']],
  ['full lines were wrapped', `${long}\nand goes on`, [`${long} and goes on`]],
  ['two spaces break a full line', `${long}  \nnext`, [`${long}\nnext`]],
  ['headings', '# A\n### B ##\n#no', ['h1 A', 'h3 B', '#no']],
  ['a hash alone', '# #', ['h1 ']],
  ['break', 'a\n\n***\nb', ['a', '---', 'b']],
  ['code', '```go\na := 1\n\n```\nafter', ['code(go) a := 1\n', 'after']],
  ['code that still streams', 'so:\n```py\nx = [', ['so:', 'code(py) x = [']],
  ['a fence within a longer one', '````\n```\n````', ['code() ```']],
  ['indented code in a list', '1. a\n   ```\n   b\n     c\n   ```\n2. d', [['ol 1', ['a', 'code() b\n  c'], 'd']]],
  ['list', '- a\n- b\n  c\n* d', [['ul', 'a', 'b\nc', 'd']]],
  ['nested list', '- a\n  - b\n  - c\n- d', [['ul', ['a', ['ul', 'b', 'c']], 'd']]],
  ['nested below numbers', '1. a\n   - b\n2. c', [['ol 1', ['a', ['ul', 'b']], 'c']]],
  ['loose list', '3. a\n\n4. b\n\nend', [['ol 3', 'a', 'b'], 'end']],
  ['kinds of lists', '- a\n1. b', [['ul', 'a'], ['ol 1', 'b']]],
  ['an empty item', '-\n- b', [['ul', [], 'b']]],
  ['quote', '> a\n> - b\nc', [['quote', 'a', ['ul', 'b']], 'c']],
  ['table', '| a | b |\n|---|--:|\n| 1 | 2 \\| 3 |\nend', [['table', ['a', 'b'], ['1', '2 | 3']], 'end']],
  ['not a table', 'a | b\nc', ['a | b\nc']],
  ['a year is no list', '1984 was\n2001. was', ['1984 was', ['ol 2001', 'was']]],
  ['markup is text', '<b>x</b>', ['<b>x</b>']],
  ['returns', 'a\r\n\r\nb', ['a', 'b']],
]) test(`blocks: ${name}`, () => assert.deepEqual(blocks(text).map(brief), want))

// flat writes parts in a short form.
const flat = (p) => (typeof p === 'string' ? p : `[${p.kind}${p.href ? ' ' + p.href : ''}:${p.parts.map(flat).join('')}]`)

for (const [text, want] of [
  ['plain', 'plain'],
  ['a **b** *c* _d_ ~~e~~', 'a [strong:b] [em:c] [em:d] [del:e]'],
  ['**a *b* c**', '[strong:a [em:b] c]'],
  ['`a *b*` ``c`d``', '[code:a *b*] [code:c`d]'],
  ['snake_case_name 2 * 3 * 4', 'snake_case_name 2 * 3 * 4'],
  ['**open', '**open'],
  ['\\*a\\*', '*a*'],
  ['[t](https://a.b/c) x', '[link https://a.b/c:t] x'],
  ['see https://a.b/c?d=e. And', 'see [link https://a.b/c?d=e:https://a.b/c?d=e]. And'],
  ['[t](javascript:alert(1))', '[t](javascript:alert(1))'],
  ['[t](JaVaScRiPt://x)', '[t](JaVaScRiPt://x)'],
  ['[t](data:text/html,x)', '[t](data:text/html,x)'],
  ['![i](https://a.b/c.png)', '![link https://a.b/c.png:i]'],
  ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
]) test(`inline: ${text}`, () => assert.equal(inline(text).map(flat).join(''), want))

test('blocks and lines lose no time over what looks like a lot of marks', () => {
  const begin = performance.now()
  for (const c of ['*', '`', '_', '~', '[', '\\', '# ', '> ', '- ', '| ', ' ', '*a ', '**a ']) {
    const text = c.repeat(4000 / c.length)
    for (const b of blocks(text)) if (b.content) inline(b.content)
  }
  assert.ok(performance.now() - begin < 3000, `${performance.now() - begin} ms`)
})

test('events, however they are cut', () => {
  const stream = ': hello\n\ndata: one\n\ndata:two\r\n\r\nevent: x\ndata: three\ndata: lines\n\ndata: unfinished'
  const want = ['one', 'two', 'three\nlines']
  for (let size = 1; size <= stream.length; size++) {
    const parse = eventParser()
    const got = []
    for (let i = 0; i < stream.length; i += size) got.push(...parse(stream.slice(i, i + size)))
    assert.deepEqual(got, want, `pieces of ${size}`)
  }
})
