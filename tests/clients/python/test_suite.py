"""The official Python client against a live server: OPENAI_BASE_URL and
OPENAI_API_KEY say where. ../go/main_test.go runs it."""

import asyncio
import enum
import time
import urllib.request
from urllib.parse import urljoin

import openai
import pydantic
import pytest

MODEL = "small"


@pytest.fixture
def client():
    return openai.OpenAI(max_retries=0)


def ask(**more):
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 20,
        "seed": 1,
        **more,
    }


def test_chat_whole_and_in_pieces(client):
    whole = client.chat.completions.create(**ask())
    stream = client.chat.completions.create(**ask(stream=True, stream_options={"include_usage": True}))
    text, usage = "", None
    for chunk in stream:
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content != ""
    assert usage.total_tokens == whole.usage.total_tokens


def test_stream_helper(client):
    whole = client.chat.completions.create(**ask(stop=[" "]))
    with client.chat.completions.stream(**ask(stop=[" "])) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content


def test_asynchronous_side_by_side():
    async def run():
        client = openai.AsyncOpenAI(max_retries=0)
        answers = await asyncio.gather(*(client.chat.completions.create(**ask(seed=i)) for i in range(8)))
        return {a.choices[0].message.content for a in answers}

    assert len(asyncio.run(run())) > 1


def test_choices_and_logprobs(client):
    got = client.chat.completions.create(**ask(n=2, logprobs=True, top_logprobs=3, extra_body={"top_k": 5, "min_p": 0.01}))
    assert len(got.choices) == 2
    assert len(got.choices[0].logprobs.content[0].top_logprobs) == 3


def test_completions(client):
    got = client.completions.create(model=MODEL, prompt=["Once upon", "The old"], max_tokens=4, echo=True, logprobs=1)
    assert got.choices[1].text.startswith("The old")
    assert got.choices[0].logprobs.token_logprobs[0] is None


def test_responses(client):
    body = {"model": MODEL, "input": "Hello", "max_output_tokens": 12, "temperature": 0}
    whole = client.responses.create(**body)
    text = "".join(e.delta for e in client.responses.create(**body, stream=True) if e.type == "response.output_text.delta")
    assert text == whole.output_text != ""


def test_response_helper(client):
    with client.responses.stream(model=MODEL, input="Hello", max_output_tokens=12, temperature=0) as stream:
        kinds = [e.type for e in stream]
    assert kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete")


class Kind(enum.Enum):
    GODWIT = "godwit"
    CURLEW = "curlew"


class Bird(pydantic.BaseModel):
    kind: Kind
    wild: bool


def test_tools(client):
    tools = [openai.pydantic_function_tool(Bird)]
    body = ask(max_completion_tokens=400, tools=tools, tool_choice="required")
    with client.chat.completions.stream(**body) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls
    assert isinstance(call.function.parsed_arguments, Bird)
    body["messages"] += [message.model_dump(exclude_none=True, exclude={"parsed"}), {"role": "tool", "tool_call_id": call.id, "content": "Noted."}]
    body["messages"][-2]["tool_calls"][0]["function"].pop("parsed_arguments")
    body.update(tool_choice="auto", max_completion_tokens=4)
    assert client.chat.completions.create(**body).choices[0].message.role == "assistant"


def test_structured_output(client):
    got = client.chat.completions.parse(**ask(max_completion_tokens=400, response_format=Bird))
    assert isinstance(got.choices[0].message.parsed, Bird)
    answer = client.responses.parse(model=MODEL, input="A bird!", text_format=Bird)
    assert isinstance(answer.output_parsed, Bird)


def test_embeddings(client):
    got = client.embeddings.create(model=MODEL, input=["The river", "The river"])  # as base64, which the client unpacks
    assert got.data[0].embedding == got.data[1].embedding
    assert len(got.data[0].embedding) == 256


def test_models(client):
    assert [m.id for m in client.models.list()] == [MODEL]


def test_errors(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**ask(model="gpt-5"))
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask(temperature=9))
    assert refused.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="frobnicate"):
        client.chat.completions.create(**ask(extra_body={"frobnicate": 1}))
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(api_key="wrong", max_retries=0).models.list()


def test_cancellation(client):
    stream = client.chat.completions.create(**ask(stream=True, max_completion_tokens=8000, extra_body={"ignore_eos": True}))
    next(iter(stream))
    stream.close()
    end = time.monotonic() + 5
    while f'vllm:num_requests_running{{model_name="{MODEL}"}} 0' not in metrics(client):
        assert time.monotonic() < end, "the request still runs"


def metrics(client):
    with urllib.request.urlopen(urljoin(str(client.base_url), "/metrics")) as answer:
        return answer.read().decode()
