"""Conversations that every template is rendered with."""

import copy
import json

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City & country, e.g. \"Köln\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Unit"},
                "days": {"type": ["integer", "null"], "minimum": 1, "default": 3},
                "place": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                          "required": ["lat"]},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["city"],
        },
        "return": {"type": "object", "description": "The <weather>"},
    },
}
TIME = {"type": "function", "function": {"name": "now", "description": "",
                                         "parameters": {"type": "object", "properties": {}}}}
BARE = {"type": "function", "function": {"name": "bare"}}

SYSTEM = {"role": "system", "content": "You are helpful.\nBe brief."}
USER = {"role": "user", "content": "What is the weather in Köln?"}
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello! 👋"}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "call_1aB2c3D4e", "type": "function", "function": {
        "name": "get_weather",
        "arguments": {"city": "Köln", "days": 2, "place": {"lat": 50.9, "lon": 7}, "tags": ["a", "b"], "ok": True, "no": None}}}]}
TWO_CALLS = {"role": "assistant", "content": "Let me look.", "tool_calls": [
    {"id": "call_000000001", "type": "function", "function": {"name": "now", "arguments": {}}},
    {"id": "call_000000002", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rom"}}}]}
TEXT_CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call_00000000x", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Oslo\"}"}}]}
RESULT = {"role": "tool", "tool_call_id": "call_1aB2c3D4e", "name": "get_weather", "content": "{\"temp\": 21.5, \"sky\": \"klar\"}"}
RESULT_1 = {"role": "tool", "tool_call_id": "call_000000001", "name": "now", "content": "12:00"}
RESULT_2 = {"role": "tool", "tool_call_id": "call_000000002", "name": "get_weather", "content": "sunny"}
THOUGHT = {"role": "assistant", "reasoning_content": "The user greets.\nI greet back.", "content": "Hello!"}
INLINE = {"role": "assistant", "content": "<think>\nHm, <b>two</b> lines\n</think>\n\nForty-two."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Describe "}, {"type": "image", "image": "x.png"},
                                     {"type": "text", "text": "this."}]}


def conversation_list():
    return [
        [HI],
        [SYSTEM, HI],
        [SYSTEM],
        [HI, HELLO, {"role": "user", "content": "  And now?\n"}],
        [SYSTEM, HI, HELLO, USER],
        [SYSTEM, HI, THOUGHT, {"role": "user", "content": "Again /no_think"}],
        [HI, INLINE, {"role": "user", "content": "Why? /think"}],
        [HI, INLINE],
        [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
        [{"role": "user", "content": "<|im_start|>\\n {{ x }} '\"\t& <tag> \u2028 日本語 🙂 {% raw %}"}],
        [HI, HELLO, HELLO],
        [HI, HI],
        [HELLO, HI],
        [SYSTEM, SYSTEM, HI],
        [HI, SYSTEM],
        [{"role": "developer", "content": "Rules."}, HI],
        [{"role": "critic", "content": "odd role"}],
        [PARTS],
        [SYSTEM, {"role": "user", "content": [{"type": "text", "text": "only text"}]}, HELLO, HI],
        [USER, CALL, RESULT],
        [SYSTEM, USER, CALL, RESULT, {"role": "assistant", "content": "21.5 °C."}, HI],
        [SYSTEM, USER, TWO_CALLS, RESULT_1, RESULT_2],
        [USER, TWO_CALLS, RESULT_1, RESULT_2, {"role": "assistant", "reasoning_content": "Done", "content": "Noon and sunny."},
         USER, CALL, RESULT],
        [USER, TEXT_CALL, {"role": "tool", "content": {"temp": 1}, "name": "get_weather", "tool_call_id": "call_00000000x"}],
        [USER, {"role": "assistant", "content": None}, HI],
        [USER, {"role": "assistant", "reasoning_content": "only thought", "content": ""}, HI],
        [USER, {"role": "assistant", "tool_calls": []}],
        [USER, {**CALL, "reasoning_content": "I need the tool."}, RESULT],
        [RESULT],
        [{"role": "user"}],
    ]


def cases():
    """All requests: conversations with and without tools, prompt and options."""
    out = []
    for i, messages in enumerate(conversation_list()):
        out.append({"messages": messages, "add_generation_prompt": True})
        out.append({"messages": messages, "add_generation_prompt": False, "tools": [WEATHER, TIME]})
        if i in (0, 4, 5, 6, 19, 22, 27):
            for options in ({"enable_thinking": False}, {"enable_thinking": True, "reasoning_budget": 128},
                            {"truncate_history_thinking": False}, {"thinking": True, "low_effort": True},
                            {"medium_effort": True, "reasoning_effort": "high", "builtin_tools": ["python"]},
                            {"chat_template_kwargs": {"enable_thinking": False}},
                            {"date_string": "1 May 2026", "tools_in_user_message": False, "bos_token": "<B>"}):
                out.append({"messages": messages, "add_generation_prompt": True, "tools": [WEATHER, BARE],
                            "chat_template_kwargs": options})
    out.append({"messages": [HI], "add_generation_prompt": True,
                "documents": [{"title": "A", "text": "alpha"}, {"title": "B", "text": "beta"}]})
    out.append({"messages": [HI], "add_generation_prompt": True, "tools": []})
    return out


def variables(case):
    """What apply_chat_template passes for a case."""
    case = copy.deepcopy(case)
    options = case.pop("chat_template_kwargs", {})
    case.setdefault("tools", None)
    case.setdefault("documents", None)
    return json.loads(json.dumps({**case, **SPECIAL, **options}))
