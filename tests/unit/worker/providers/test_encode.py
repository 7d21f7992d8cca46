"""What each wire sends: golden bodies, headers and paths."""

import json

import pytest

from worker.providers.table import WIRES
from worker.providers.wire import ChatRequest, Message

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": SCHEMA},
}
MESSAGES = (
    Message("system", "Be brief."),
    Message("user", "Hi é"),
    Message("assistant", "Hello"),
    Message("user", "Add"),
)
FULL = ChatRequest(
    model="m-1",
    messages=MESSAGES,
    max_tokens=9,
    temperature=0.5,
    tools=(TOOL,),
    tool_choice="required",
    params={"top_p": 0.9, "stop": ["x"]},
)
BARE = ChatRequest(model="m-1", messages=(Message("user", "Hi"),), max_tokens=9, stream=False)
TYPE = {"content-type": "application/json", "accept-encoding": "identity"}
SSE = TYPE | {"accept": "text/event-stream"}
JSON = TYPE | {"accept": "application/json"}
GOLDEN = {
    ("openai", "full"): (
        "/chat/completions",
        SSE | {"authorization": "Bearer k"},
        {
            "model": "m-1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi é"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Add"},
            ],
            "max_tokens": 9,
            "temperature": 0.5,
            "stream": True,
            "stream_options": {"include_usage": True},
            "tools": [TOOL],
            "tool_choice": "required",
            "top_p": 0.9,
            "stop": ["x"],
        },
    ),
    ("openai", "bare"): (
        "/chat/completions",
        JSON,
        {
            "model": "m-1",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 9,
            "stream": False,
        },
    ),
    ("anthropic", "full"): (
        "/messages",
        SSE | {"x-api-key": "k", "anthropic-version": "2023-06-01"},
        {
            "model": "m-1",
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "Hi é"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Add"},
            ],
            "max_tokens": 9,
            "temperature": 0.5,
            "stream": True,
            "tools": [{"name": "add", "description": "Adds.", "input_schema": SCHEMA}],
            "tool_choice": {"type": "any"},
            "top_p": 0.9,
            "stop_sequences": ["x"],
        },
    ),
    ("anthropic", "bare"): (
        "/messages",
        JSON | {"anthropic-version": "2023-06-01"},
        {
            "model": "m-1",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 9,
            "stream": False,
        },
    ),
    ("gemini", "full"): (
        "/models/m-1:streamGenerateContent?alt=sse",
        SSE | {"x-goog-api-key": "k"},
        {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi é"}]},
                {"role": "model", "parts": [{"text": "Hello"}]},
                {"role": "user", "parts": [{"text": "Add"}]},
            ],
            "generationConfig": {
                "maxOutputTokens": 9,
                "temperature": 0.5,
                "topP": 0.9,
                "stopSequences": ["x"],
            },
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "add", "description": "Adds.", "parameters": SCHEMA}
                    ]
                }
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        },
    ),
    ("gemini", "bare"): (
        "/models/m-1:generateContent",
        JSON,
        {
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {"maxOutputTokens": 9},
        },
    ),
}


def body_of(wire, **changes):
    fields = {"model": "m-1", "messages": (Message("user", "Hi"),), "max_tokens": 9} | changes
    return json.loads(WIRES[wire].encode(ChatRequest(**fields), "k").body)


@pytest.mark.parametrize(("wire", "which"), GOLDEN)
def test_golden(wire, which):
    request, key = (FULL, "k") if which == "full" else (BARE, None)
    call = WIRES[wire].encode(request, key)
    assert (call.path, call.headers, json.loads(call.body)) == GOLDEN[wire, which]


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "gpt-5", "gpt-5-mini", "openai/o4-mini", "ft:gpt-5:me"]
)
def test_newer_openai_models_take_the_new_limit(model):
    body = body_of("openai", model=model)
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


@pytest.mark.parametrize("model", ["gpt-4o", "olmo-2", "foo1", "o", "gpt-oss-20b", "solo1"])
def test_older_models_keep_theirs(model):
    body = body_of("openai", model=model)
    assert body["max_tokens"] == 9
    assert "max_completion_tokens" not in body


@pytest.mark.parametrize("wire", WIRES)
def test_params_never_replace_what_is_measured(wire):
    plain = body_of(wire, messages=MESSAGES)
    theft = {
        "model": "x",
        "messages": [],
        "contents": [],
        "stream": False,
        "system": "x",
        "system_instruction": "x",
        "systemInstruction": "x",
    }
    mine = {
        "openai": {"model", "messages", "stream"},
        "anthropic": {"model", "messages", "stream", "system"},
        "gemini": {"contents", "system_instruction"},
    }[wire]
    stolen = body_of(wire, messages=MESSAGES, params=theft)
    assert {key: stolen[key] for key in mine} == {key: plain[key] for key in mine}
    assert body_of(wire, params={"odd": {"a": 1}})["odd"] == {"a": 1}


def test_params_win_elsewhere_and_nested_settings_stay():
    assert body_of("openai", params={"max_tokens": 3, "stream_options": {"x": 1}}) | {
        "messages": 0
    } == {
        "model": "m-1",
        "messages": 0,
        "max_tokens": 3,
        "stream": True,
        "stream_options": {"include_usage": True, "x": 1},
    }
    settings = body_of(
        "gemini", params={"generationConfig": {"topK": 3}, "top_p": 0.1, "stop": "x"}
    )["generationConfig"]
    assert settings == {"maxOutputTokens": 9, "topK": 3, "topP": 0.1, "stopSequences": ["x"]}
    assert body_of("anthropic", params={"stop": "x"})["stop_sequences"] == ["x"]


CHOICES = {
    "openai": {
        "auto": "auto",
        "none": "none",
        "required": "required",
        "add": {"type": "function", "function": {"name": "add"}},
    },
    "anthropic": {
        "auto": {"type": "auto"},
        "none": {"type": "none"},
        "required": {"type": "any"},
        "add": {"type": "tool", "name": "add"},
    },
    "gemini": {
        "auto": {"mode": "AUTO"},
        "none": {"mode": "NONE"},
        "required": {"mode": "ANY"},
        "add": {"mode": "ANY", "allowedFunctionNames": ["add"]},
    },
}


@pytest.mark.parametrize(
    ("wire", "choice"), [(w, c) for w, choices in CHOICES.items() for c in choices]
)
def test_tool_choice(wire, choice):
    body = body_of(wire, tools=(TOOL,), tool_choice=choice)
    said = body["toolConfig"]["functionCallingConfig"] if wire == "gemini" else body["tool_choice"]
    assert said == CHOICES[wire][choice]
    assert "tool_choice" not in body_of(wire, tool_choice=choice)


@pytest.mark.parametrize("wire", WIRES)
def test_a_bare_tool_is_worded_as_a_declared_one(wire):
    bare = {"name": "add", "description": "Adds.", "parameters": SCHEMA}
    assert body_of(wire, tools=(bare,))["tools"] == body_of(wire, tools=(TOOL,))["tools"]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/m", "/models/m:generateContent"),
        ("tunedModels/m", "/tunedModels/m:generateContent"),
        ("../x?key=1#", "/models/..%2Fx%3Fkey%3D1%23:generateContent"),
        ("sim/fast", "/models/sim%2Ffast:generateContent"),
    ],
)
def test_a_gemini_model_cannot_leave_its_path(model, path):
    call = WIRES["gemini"].encode(
        ChatRequest(model=model, messages=(), max_tokens=1, stream=False), "k"
    )
    assert call.path == path


@pytest.mark.parametrize("wire", WIRES)
def test_the_key_is_in_no_path_and_no_body(wire):
    call = WIRES[wire].encode(FULL, "sk-secret")
    assert "sk-secret" not in call.path
    assert b"sk-secret" not in call.body
    assert "sk-secret" in str(call.headers)
