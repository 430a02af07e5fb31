// The official JavaScript client against a live server: OPENAI_BASE_URL and
// OPENAI_API_KEY say where. ../go/main_test.go runs it.
import assert from 'node:assert/strict'
import test from 'node:test'
import OpenAI from 'openai'

const client = new OpenAI({ maxRetries: 0 })
const model = 'small'
const ask = (more = {}) => ({
  model,
  messages: [{ role: 'user', content: 'Hello' }],
  max_completion_tokens: 20,
  seed: 1,
  ...more,
})

test('chat, whole and in pieces', async () => {
  const whole = await client.chat.completions.create(ask())
  assert.ok(whole.choices[0].message.content.length > 0)
  const stream = await client.chat.completions.create(ask({ stream: true, stream_options: { include_usage: true } }))
  let text = ''
  let usage
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    usage = chunk.usage ?? usage
  }
  assert.equal(text, whole.choices[0].message.content)
  assert.equal(usage.total_tokens, whole.usage.total_tokens)
})

test('the stream helper puts the pieces together', async () => {
  const runner = client.chat.completions.stream(ask())
  const final = await runner.finalChatCompletion()
  const whole = await client.chat.completions.create(ask())
  assert.equal(final.choices[0].message.content, whole.choices[0].message.content)
})

test('choices and log-probabilities', async () => {
  const got = await client.chat.completions.create(ask({ n: 2, logprobs: true, top_logprobs: 3, stop: ['never to be found'] }))
  assert.equal(got.choices.length, 2)
  assert.equal(got.choices[1].logprobs.content[0].top_logprobs.length, 3)
})

test('completions', async () => {
  const got = await client.completions.create({ model, prompt: 'Once upon', max_tokens: 5, echo: true })
  assert.match(got.choices[0].text, /^Once upon/)
})

test('responses, whole and in events', async () => {
  const body = { model, input: 'Hello', max_output_tokens: 12, temperature: 0 }
  const whole = await client.responses.create(body)
  let text = ''
  for await (const event of await client.responses.create({ ...body, stream: true })) {
    if (event.type === 'response.output_text.delta') text += event.delta
  }
  assert.equal(text, whole.output_text)
})

const birdSchema = {
  type: 'object',
  properties: { kind: { enum: ['godwit', 'curlew'] }, grams: { type: 'integer', minimum: 1, maximum: 900 } },
  required: ['kind', 'grams'],
  additionalProperties: false,
}
const isBird = ({ kind, grams }) => assert.ok(['godwit', 'curlew'].includes(kind) && grams >= 1 && grams <= 900)

test('tools, run by the helper', async () => {
  let noted
  const runner = client.chat.completions.runTools({
    ...ask({ max_completion_tokens: 400 }),
    tools: [{ type: 'function', function: { name: 'note_bird', parameters: birdSchema, parse: JSON.parse, function: (bird) => { noted = bird; return 'Noted.' } } }],
    tool_choice: { type: 'function', function: { name: 'note_bird' } },
  })
  await runner.done()
  isBird(noted)
})

test('structured output', async () => {
  const format = { type: 'json_schema', json_schema: { name: 'bird', strict: true, schema: birdSchema } }
  const got = await client.chat.completions.parse(ask({ max_completion_tokens: 400, response_format: format }))
  isBird(JSON.parse(got.choices[0].message.content))
  const answer = await client.responses.create({ model, input: 'A bird!', text: { format: { type: 'json_schema', name: 'bird', schema: birdSchema } } })
  isBird(JSON.parse(answer.output_text))
})

test('embeddings', async () => {
  const got = await client.embeddings.create({ model, input: ['The river', 'A door'] })
  assert.equal(got.data.length, 2)
  assert.ok(Math.abs(Math.hypot(...got.data[0].embedding) - 1) < 1e-3)
})

test('models', async () => {
  const names = []
  for await (const m of client.models.list()) names.push(m.id)
  assert.deepEqual(names, [model])
})

test('errors', async () => {
  await assert.rejects(client.chat.completions.create(ask({ model: 'gpt-5' })), OpenAI.NotFoundError)
  await assert.rejects(client.chat.completions.create(ask({ temperature: 9 })), (e) => e instanceof OpenAI.BadRequestError && e.param === 'temperature')
  await assert.rejects(new OpenAI({ apiKey: 'wrong', maxRetries: 0 }).models.list(), OpenAI.AuthenticationError)
})

test('cancellation', async () => {
  const stream = await client.chat.completions.create(ask({ stream: true, max_completion_tokens: 8000, ignore_eos: true }))
  let events = 0
  for await (const _ of stream) {
    if (++events === 3) break // leaving the loop aborts the request
  }
  const metrics = new URL('/metrics', client.baseURL)
  for (const end = Date.now() + 5000; ; ) {
    const text = await (await fetch(metrics)).text()
    if (text.includes(`vllm:num_requests_running{model_name="${model}"} 0`)) break
    assert.ok(Date.now() < end, 'the request still runs')
  }
})
