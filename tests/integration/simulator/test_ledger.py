"""The ledger's times are true, and the pace has no drift."""

import asyncio
from itertools import pairwise
from statistics import median, pstdev

import pytest

from worker.providers.table import WIRES


def lateness(record, ttft, itl):
    dues = [record["received"] + ttft + itl * at for at in range(len(record["sent"]))]
    return [sent - due for sent, due in zip(record["sent"], dues, strict=True)]


@pytest.mark.parametrize("wire", WIRES)
async def test_tokens_leave_when_due_and_arrive_when_the_ledger_says(client, wire):
    answer = await client.ask(wire, "ttft-50-itl-5-n-100", request_id=f"pace-{wire}")
    record = await client.record(f"pace-{wire}")
    assert len(record["sent"]) == len(answer.texts) == 100
    late = lateness(record, 0.050, 0.005)
    assert min(late) > -0.001
    assert median(late) < 0.003
    assert median(late[-20:]) - median(late[:20]) < 0.002
    travel = [came - sent for came, sent in zip(answer.texts, record["sent"], strict=True)]
    assert -0.001 < median(travel) < 0.005
    assert record["received"] <= record["headers_sent"] < record["received"] + 0.040
    assert record["sent"][-1] <= record["finished"] < record["sent"][-1] + 0.020


async def test_an_answer_that_is_not_streamed_takes_as_long(client):
    await client.ask("openai", "ttft-50-itl-5-n-21", stream=False, request_id="whole")
    record = await client.record("whole")
    assert record["finished"] - record["received"] == pytest.approx(0.150, abs=0.02)
    assert record["sent"] == [record["finished"]]
    assert record["tokens"] == 21


@pytest.mark.parametrize(("model", "ttft", "itl"), [("fast", 0.020, 0.002), ("slow", 0.600, 0.040)])
async def test_fast_and_slow(client, model, ttft, itl):
    await client.ask("openai", f"sim/{model}", max_tokens=10, request_id=f"named-{model}")
    record = await client.record(f"named-{model}")
    assert len(record["sent"]) == 10
    assert median(lateness(record, ttft, itl)) == pytest.approx(0, abs=0.004)


async def test_many_at_once_keep_their_pace(client):
    ask = [
        client.ask("openai", "ttft-100-itl-10-n-20", request_id=f"many-{at}") for at in range(100)
    ]
    await asyncio.gather(*ask)
    records = await client.get("/ledger?client_request_id=many-")
    late = [each for record in records for each in lateness(record, 0.100, 0.010)]
    assert len(late) == 2000
    assert min(late) > -0.001
    assert median(late) < 0.010
    assert (await client.get("/stats"))["max_concurrent"] >= 50


async def test_chunks_carry_several_tokens_at_the_same_rate(client):
    answer = await client.ask("openai", "ttft-20-itl-5-n-10-chunk-4", request_id="chunks")
    record = await client.record("chunks")
    assert (len(answer.texts), len(record["sent"]), record["tokens"]) == (3, 3, 10)
    assert median(lateness(record, 0.020, 0.020)) == pytest.approx(0, abs=0.004)


async def test_jitter_varies_the_gaps_and_never_reorders(client):
    answer = await client.ask("openai", "itl-20-jitter-15-n-30", request_id="jitter")
    steady = await client.ask("openai", "itl-20-n-30", request_id="steady")
    gaps = {}
    for name in ("jitter", "steady"):
        sent = (await client.record(name))["sent"]
        gaps[name] = [after - before for before, after in pairwise(sent)]
        assert min(gaps[name]) >= 0
    assert answer.text == steady.text
    assert pstdev(gaps["jitter"]) > 0.007
    assert median(abs(gap - 0.020) for gap in gaps["steady"]) < 0.003


async def test_without_delays_all_leaves_in_one_write(client):
    answer = await client.ask("openai", "n-32", request_id="at-once")
    record = await client.record("at-once")
    assert set(record["sent"]) == {record["finished"]}
    assert len(record["sent"]) == 32
    assert len(set(answer.texts)) == 1


async def test_a_disconnect_is_dated(client):
    answer = await client.ask("anthropic", "itl-20-n-1000", request_id="gone", stop_at=2000)
    record = await client.settled("gone")
    assert record["outcome"] == "disconnected"
    assert record["disconnected"] == pytest.approx(answer.arrivals[-1], abs=0.1)
    assert record["tokens"] == len(record["sent"]) < 50


async def test_reading_parts_of_the_ledger(client):
    for at in range(5):
        await client.ask("openai", "n-1", request_id=f"part-{at}")
    records = await client.get("/ledger?client_request_id=part-")
    assert [record["client_request_id"] for record in records] == [f"part-{at}" for at in range(5)]
    middle = records[2]["n"]
    assert await client.get(f"/ledger?since={middle}&client_request_id=part-") == records[3:]
    assert await client.get("/ledger?client_request_id=part-&limit=2") == records[:2]
    assert "error" in await client.get("/ledger?since=x")
    async with client.session.delete(client.base + "/ledger") as response:
        assert response.status == 200
    assert await client.get("/ledger") == []
