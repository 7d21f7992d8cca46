"""Three wires, read with the real codecs."""

import hashlib
import json

import pytest

from worker.providers.table import WIRES
from worker.providers.wire import (
    ChatRequest,
    Finish,
    Identity,
    Message,
    Reasoning,
    Refused,
    ToolCall,
    Usage,
)

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
EACH = pytest.mark.parametrize("wire", WIRES)


@EACH
@BOTH
@pytest.mark.parametrize(
    "model", ["n-5-reason-2", "sim/reason-2-n-5-itl-1-chunk-2", "n-5-reason-2-split-1"]
)
async def test_an_answer_with_thoughts(client, wire, stream, model):
    answer = await client.ask(wire, model, stream=stream, request_id=f"a-{wire}-{stream}-{model}")
    assert answer.failure is None
    assert answer.text == " the quick brown fox jumps"
    assert "".join(part.text for part in answer.only(Reasoning)) == " the quick"
    assert answer.only(Finish) == [Finish("stop")]
    told = answer.only(Usage)[-1]
    assert (told.output_tokens, told.input_tokens) == (7, len("user: hello") // 4 + 1)
    record = await client.record(f"a-{wire}-{stream}-{model}")
    assert answer.only(Identity) == [Identity(record["id"])]
    assert (record["wire"], record["model"], record["tokens"]) == (wire, model, 7)
    assert (record["outcome"], record["status"], record["prompt_chars"]) == ("complete", 200, 5)
    assert record["prompt_sha256"] == hashlib.sha256(b"user: hello").hexdigest()


@EACH
@BOTH
async def test_max_tokens_bounds_and_is_told(client, wire, stream):
    answer = await client.ask(wire, "n-9-reason-1", stream=stream, max_tokens=4)
    assert answer.text == " the quick brown"
    assert answer.only(Finish) == [Finish("length")]
    assert answer.only(Usage)[-1].output_tokens == 4


@EACH
@BOTH
async def test_echo(client, wire, stream):
    prompt = 'Wie spät\tist es? 漢字 "quoted" 🙂\n  two  spaces '
    answer = await client.ask(wire, "sim/echo", stream=stream, prompt=prompt)
    assert answer.text == prompt
    assert (
        await client.ask(wire, "echo", stream=stream, prompt="a b c", max_tokens=2)
    ).text == "a b"


@EACH
@BOTH
@pytest.mark.parametrize("model", ["tool", "tool-itl-1"])
async def test_a_tool_call_in_parts(client, wire, stream, model):
    answer = await client.ask(wire, model, stream=stream, tools=(TOOL,))
    calls = answer.only(ToolCall)
    assert calls[0].name == "weather"
    assert json.loads("".join(call.arguments for call in calls)) == {"city": "simulated", "days": 1}
    assert answer.only(Finish) == [Finish("tool_calls")]
    assert (len(calls) > 2) == (stream and wire != "gemini")
    assert not (await client.ask(wire, "n-4-tool", stream=stream)).only(ToolCall)


@EACH
@BOTH
async def test_without_the_version_prefix(client, wire, stream):
    assert (await client.ask(wire, "n-1", stream=stream, bare=True)).text == " the"


@EACH
@BOTH
@pytest.mark.parametrize(
    "model", ["nonsense", "n-", "n-1-", "ttft", "status-99", "chunk-0", "n-0", "n-100001", ""]
)
async def test_an_unknown_model_is_a_404_in_the_wires_words(client, wire, stream, model):
    answer = await client.ask(wire, model, stream=stream)
    assert answer.status == 404
    assert WIRES[wire].explain(answer.body) == f"the model `{model}` does not exist"


@EACH
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 529])
async def test_statuses(client, wire, status):
    answer = await client.ask(wire, f"status-{status}-retry-7", request_id=f"s-{wire}-{status}")
    assert answer.status == status
    assert answer.headers.get("Retry-After") == ("7" if status in {429, 503} else None)
    assert WIRES[wire].explain(answer.body) == f"simulated status {status}"
    assert (await client.record(f"s-{wire}-{status}"))["status"] == status


@EACH
@pytest.mark.parametrize(
    "body", [b"", b"{bad", b"[]", b"{}", b'{"model":5}', b"\xff", b"[" * 50_000]
)
async def test_a_bad_body_is_a_400_in_the_wires_words(client, wire, body):
    path = {
        "openai": "/v1/chat/completions",
        "anthropic": "/v1/messages",
        "gemini": "/v1beta/models/fast:generateContent",
    }[wire]
    async with client.session.post(client.base + path, data=body) as response:
        assert response.status == 400
        assert WIRES[wire].explain(await response.read()).startswith("bad request")


@EACH
async def test_lies_and_no_usage(client, wire):
    usage = (await client.ask(wire, "lies-n-2")).only(Usage)[-1]
    assert (usage.input_tokens, usage.output_tokens) == (None, None)
    for stream in (True, False):
        answer = await client.ask(wire, "no-usage-n-2", stream=stream)
        assert (answer.text, answer.only(Usage)) == (" the quick", [])


@EACH
@BOTH
async def test_an_error_in_the_middle(client, wire, stream):
    answer = await client.ask(wire, "error-mid-n-8", stream=stream)
    assert isinstance(answer.failure, Refused)
    assert str(answer.failure) == "simulated failure"
    assert answer.text == (" the quick brown fox" if stream else "")


async def test_usage_is_streamed_only_when_asked_for(client):
    body = b'{"model":"n-1","messages":[],"stream":true}'
    async with client.session.post(client.base + "/v1/chat/completions", data=body) as response:
        text = await response.text()
    assert "usage" not in text
    assert text.endswith("data: [DONE]\n\n")


async def test_the_digest_of_a_prompt_is_the_same_on_every_wire(client):
    said = (Message("user", "hi"), Message("system", "be brief"), Message("assistant", "yes"))
    expected = hashlib.sha256(b"system: be brief\nuser: hi\nassistant: yes").hexdigest()
    for wire, codec in WIRES.items():
        request = ChatRequest(model="n-1", messages=said, max_tokens=5, stream=False)
        call = codec.encode(request, None)
        headers = call.headers | {"X-Client-Request-Id": f"digest-{wire}"}
        async with client.session.post(client.base + call.path, data=call.body, headers=headers):
            record = await client.record(f"digest-{wire}")
        assert record["prompt_sha256"] == expected


@pytest.mark.parametrize("model", ["n-2-reason-2", "tool"])
async def test_anthropic_blocks_begin_and_end_in_turn(client, model):
    answer = await client.ask("anthropic", model, tools=(TOOL,))
    lines = answer.body.decode().split("\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [f"event: {event['type']}" for event in events] == lines[:-1:3]
    kinds = [(event["type"], event.get("index")) for event in events]
    kinds = [kind for kind in kinds if kind[0] not in {"content_block_delta", "ping"}]
    blocks = 2 if model != "tool" else 1
    middle = [(f"content_block_{what}", at) for at in range(blocks) for what in ("start", "stop")]
    assert kinds == [
        ("message_start", None),
        *middle,
        ("message_delta", None),
        ("message_stop", None),
    ]
