"""Enqueue, execute, stream, result: as a client sees it."""

import asyncio
import time

import pytest

from tests.stack import open_stack, read_events, until


async def test_a_benchmark_streams_its_events_and_ends_in_a_result_per_model_and_tier(service):
    stack, client = service
    sheet = {
        "models": ["sim/fast", "sim/slow"],
        "runs": 2,
        "context_tiers": [0, 1000],
        "max_tokens": 8,
    }
    async with client.session.post(f"{stack.url}/api/benchmark", json=sheet) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        run_id = response.headers["X-Run-Id"]
        events = [event async for event in read_events(response.content)]
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    types = [event["data"]["type"] for event in events]
    assert types == ["status", "status", *["progress", "result"] * 8, "complete"]
    assert events[-1]["data"]["run_id"] == run_id
    run = await client.run(run_id)
    assert run["status"] == "completed"
    cells = {(row["model_id"], row["context_tokens"], row["ok"]) for row in run["summary"]["rows"]}
    assert cells == {(model, tier, 2) for model in ("sim/fast", "sim/slow") for tier in (0, 1000)}


async def test_measured_times_agree_with_what_the_provider_truly_sent(service):
    _, client = service
    run_id = await client.submit(models=["sim/ttft-200-itl-10-n-64"], runs=5, max_tokens=64)
    await client.finished(run_id)
    samples, _ = await client.samples(run_id)
    ledger = {entry["id"]: entry for entry in await client.ledger(run_id)}
    for sample in samples:
        truth = ledger[sample["response_id"]]
        true_ttft = (truth["sent"][0] - truth["received"]) * 1e3
        assert sample["ttft_ms"] == pytest.approx(true_ttft, abs=20)
        assert sample["output_tokens"] == truth["tokens"] == 64
        assert sum(sample["itl_ms"]) == pytest.approx(
            (truth["sent"][-1] - truth["sent"][0]) * 1e3, abs=20
        )


async def test_without_a_stream_a_benchmark_answers_202_and_can_be_followed_later(service):
    _, client = service
    status, body = await client.call(
        "POST", "/api/benchmark", json={"models": ["sim/fast"], "runs": 1},
        headers={"Accept": "application/json"},
    )  # fmt: skip
    assert (status, body["status"]) == (202, "queued")
    async with client.events(body["run_id"]) as (_, events):
        seen = [event async for event in events]
    assert [event["event"] for event in seen][-3:] == ["complete", "status", "completed"]
    assert "id" not in seen[-1]


async def test_hanging_up_does_not_cancel_a_benchmark(service):
    stack, client = service
    sheet = {"models": ["sim/fast"], "runs": 5}
    async with client.session.post(f"{stack.url}/api/benchmark", json=sheet) as response:
        run_id = response.headers["X-Run-Id"]
    assert (await client.finished(run_id))["status"] == "completed"


async def test_cancel_in_mid_stream_is_seen_within_two_seconds_and_closes_the_call(service):
    _, client = service
    run_id = await client.submit(
        models=["sim/ttft-50-itl-200-n-500"], runs=3, max_tokens=500, warmup=False
    )
    quick = await client.submit(models=["sim/fast"], runs=1)
    await client.finished(quick)

    async def answering():
        return [entry for entry in await client.ledger(run_id) if len(entry["sent"]) > 2]

    await until(answering)
    async with client.events(run_id) as (_, events):
        began = time.monotonic()
        status, body = await client.call("POST", f"/api/runs/{run_id}/cancel")
        assert (status, body) == (200, {"status": "canceled"})
        seen = [event["event"] async for event in events]
        assert time.monotonic() - began < 2
    assert "cancelled" in seen

    async def hung_up():
        return all(entry["outcome"] == "disconnected" for entry in await client.ledger(run_id))

    await until(hung_up, within_s=2)
    assert (await client.call("POST", f"/api/runs/{run_id}/cancel"))[0] == 400


async def test_cancel_keeps_the_samples_that_were_finished(service):
    _, client = service
    run_id = await client.submit(
        models=["sim/ttft-150-itl-1-n-4"], runs=50, max_tokens=8, warmup=False
    )

    async def three_done():
        return (await client.run(run_id))["progress"]["done"] >= 3

    await until(three_done)
    status, _ = await client.call("POST", "/api/benchmark/cancel", json={"run_id": run_id})
    assert status == 200
    run = await client.finished(run_id, within_s=2)
    assert run["status"] == "canceled"
    samples, _ = await client.samples(run_id)
    assert 3 <= len(samples) == run["progress"]["done"] == run["summary"]["done"] < 50


async def test_a_run_whose_every_sample_failed_is_failed(service):
    _, client = service
    run_id = await client.submit(models=["sim/status-400"], runs=2)
    run = await client.finished(run_id)
    assert (run["status"], run["error_code"], run["progress"]["failed"]) == (
        "failed",
        "PROVIDER_REFUSED",
        2,
    )


async def test_retries_are_attempts_of_their_own_and_never_inside_a_latency(service):
    _, client = service
    run_id = await client.submit(models=["sim/flaky-50"], runs=20, max_tokens=4, concurrency=4)
    await client.finished(run_id)
    samples, attempts = await client.samples(run_id)
    retried = [sample for sample in samples if sample["attempts"] > 1]
    assert retried
    for sample in retried:
        own = [attempt for attempt in attempts if attempt["key"] == sample["key"]]
        assert len(own) == sample["attempts"]
        assert own[-1]["total_ms"] == pytest.approx(sample["total_ms"])
        assert all(attempt["error_code"] for attempt in own[:-1])


async def test_many_runs_at_once_all_finish(service):
    _, client = service

    async def one():
        return await client.finished(await client.submit(models=["sim/fast"], runs=2, max_tokens=4))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(40)]
    assert {task.result()["status"] for task in tasks} == {"completed"}


async def test_deleting_a_queued_run_ends_its_stream_as_cancelled(database_url, redis, stores):
    async with open_stack(database_url, stores.redis_url, workers=0) as (_, client):
        run_id = await client.submit(models=["sim/fast"], runs=1)
        async with client.events(run_id) as (_, events):
            assert (await anext(events))["data"]["status"] == "queued"
            assert await client.call("DELETE", f"/api/runs/{run_id}") == (
                200,
                {"status": "deleted"},
            )
            assert (await anext(events))["event"] == "cancelled"
        assert (await client.call("GET", f"/api/runs/{run_id}"))[0] == 404
