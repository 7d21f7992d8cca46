"""Whoever loses a stream and comes back with `Last-Event-ID` misses nothing and repeats nothing."""

import asyncio
import random
import signal

import aiohttp
import pytest

from tests.stack import read_events

SEED = 20_261_120
CUTS = 24


async def read_to(client, run_id, after, count):
    """Read `count` events after number `after`, then hang up in mid-stream."""
    seen = []
    async with client.events(run_id, after) as (response, events):
        if response.status == 204:
            return seen
        async for event in events:
            if "id" not in event:
                continue
            seen.append((int(event["id"]), event["event"], event["data"]))
            if len(seen) == count:
                break
    return seen


async def read_in_pieces(client, run_id, sizes):
    """Follow a run to its end, dropping the connection after each of `sizes` events."""
    log, sizes = [], iter(sizes)
    while not log or log[-1][1] not in ("complete", "cancelled", "error"):
        after = log[-1][0] if log else None
        try:
            log += await read_to(client, run_id, after, next(sizes, 10_000))
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.05)  # the API is being restarted
    return log


def assert_whole(log, reference):
    assert [seq for seq, _, _ in log] == list(range(1, len(log) + 1))
    assert log == reference


async def test_every_cut_point_of_a_live_run_loses_and_repeats_nothing(service):
    """One reader per cut point, and readers that are cut again and again, all on one live run."""
    _, client = service
    chance = random.Random(SEED)
    run_id = await client.submit(
        models=["sim/ttft-30-itl-2-n-8", "sim/echo"], runs=10, max_tokens=8
    )
    cuts = [[n] for n in range(1, CUTS + 1)]
    cuts += [[chance.randint(1, 5) for _ in range(60)] for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read_in_pieces(client, run_id, sizes)) for sizes in cuts]
    reference = await read_in_pieces(client, run_id, [])
    assert len(reference) == 2 + 2 * 20 + 1
    for reader in readers:
        assert_whole(reader.result(), reference)


async def test_an_api_restart_in_mid_run_loses_and_repeats_nothing(service):
    stack, client = service
    run_id = await client.submit(
        models=["sim/ttft-40-itl-1-n-4"], runs=60, max_tokens=4, warmup=False
    )
    async with asyncio.TaskGroup() as group:
        sizes = [[], [3, 3, 3, 3], [1] * 50, *([n] for n in range(1, 8))]
        readers = [group.create_task(read_in_pieces(client, run_id, size)) for size in sizes]
        for number in ("SIGTERM", "SIGKILL"):
            await asyncio.sleep(0.6)  # let the run get on; what is seen does not depend on it
            await restart_api(stack, number)
    reference = await read_in_pieces(client, run_id, [])
    assert len(reference) == 2 + 2 * 60 + 1
    for reader in readers:
        assert_whole(reader.result(), reference)


async def restart_api(stack, number):
    code = await asyncio.wait_for(stack.stop("api", getattr(signal, number)), 5)
    assert code == (0 if number == "SIGTERM" else -signal.SIGKILL)
    await stack.start("api")
    await stack.ready()


async def test_a_reconnect_after_the_last_event_gets_204(service):
    _, client = service
    run_id = await client.submit(models=["sim/fast"], runs=1, max_tokens=2)
    log = await read_in_pieces(client, run_id, [])
    async with client.events(run_id, log[-1][0]) as (response, _):
        assert response.status == 204
    async with client.events(run_id, log[-1][0] - 1) as (response, events):
        assert (await anext(events))["event"] == "complete"


@pytest.mark.parametrize("nonsense", ["-1", "abc", "1e9", "9" * 40, "½"])
async def test_a_nonsense_last_event_id_replays_from_the_start(service, nonsense):
    _, client = service
    run_id = await client.submit(models=["sim/fast"], runs=1, max_tokens=2)
    await client.finished(run_id)
    log = await read_to(client, run_id, nonsense, 10_000)
    assert log[0][0] == 1


async def test_the_two_streams_of_a_run_give_the_same_events_under_the_same_ids(service):
    stack, client = service
    sheet = {"models": ["sim/fast"], "runs": 3, "max_tokens": 4}
    async with client.session.post(f"{stack.url}/api/benchmark", json=sheet) as response:
        run_id = response.headers["X-Run-Id"]
        studio = [event async for event in read_events(response.content)]
    openbench = await read_in_pieces(client, run_id, [])
    assert [(int(e["id"]), e["data"]["type"]) for e in studio] == [(i, t) for i, t, _ in openbench]
    for event, (_, _, data) in zip(studio, openbench, strict=True):
        assert {k: v for k, v in event["data"].items() if k != "type"} == data
