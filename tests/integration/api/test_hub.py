"""The hub under real pub/sub: one subscription per run, no reader at another's expense."""

import asyncio
import contextlib
import socket
import time

import pytest

from api import relay
from db.bus import channel
from tests.stack import until

RESULT = ("result", b'{"n":1}')


async def take(events, count, within_s=5.0):
    """Read the next `count` events of the log; those without an id are left out."""
    seen = []
    async with asyncio.timeout(within_s):
        async for event in events:
            if "id" in event:
                seen.append(int(event["id"]))
                if len(seen) == count:
                    break
    return seen


@pytest.fixture
def stall(served):
    """Ask for a stream and read nothing of it."""
    with contextlib.ExitStack() as sockets:

        async def ask(run_id):
            reader = sockets.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(reader, ("127.0.0.1", served.server.config.port))
            request = f"GET /api/runs/{run_id}/events HTTP/1.1\r\nHost: x\r\n\r\n"
            await loop.sock_sendall(reader, request.encode())
            return reader

        yield ask


async def test_two_streams_of_a_run_share_one_subscription_and_the_last_one_ends_it(
    served, make_log
):
    log = await make_log()
    async with served.follow(log.run_id) as first:
        async with served.follow(log.run_id) as second:
            assert await take(first, 1) == await take(second, 1) == [1]
            await log.heard_by(1)
            assert await served.streams() == 2
            await log.tell(RESULT)
            assert await take(first, 1) == await take(second, 1) == [2]
        await served.streams_become(1)
        assert await log.listeners() == 1
    await log.heard_by(0)
    assert await served.streams() == 0


async def test_thirty_runs_that_were_followed_once_leave_nothing_behind(served, make_log):
    logs = [await make_log() for _ in range(30)]
    for log in logs:
        async with served.follow(log.run_id) as events:
            assert await take(events, 1) == [1]
    await served.streams_become(0)
    assert not served.hub._channels

    async def unsubscribed():
        return not served.hub._pubsub.channels and not await logs[0].redis.pubsub_channels("*")

    await until(unsubscribed, 5)


async def test_a_client_that_hangs_up_leaves_no_task_behind(served, make_log):
    log = await make_log()
    await served.streams()
    before = len(asyncio.all_tasks())
    for _ in range(20):
        async with served.follow(log.run_id) as events:
            assert await take(events, 1) == [1]
    await served.streams_become(0)

    async def as_before():
        return len(asyncio.all_tasks()) <= before

    await until(as_before, 5)


async def test_a_reader_that_stops_reading_is_cut_and_delays_nobody(
    served, make_log, monkeypatch, caplog, stall
):
    monkeypatch.setattr(relay, "STALL_S", 1.0)
    log = await make_log()
    stuck = await stall(log.run_id)
    big = ("result", b'{"text":"%b"}' % (b"x" * 20_000))
    lags, stalled_at_most = [], 0
    async with served.follow(log.run_id) as events:
        await take(events, 1)
        await served.streams_become(2)
        for _ in range(300):
            began = time.monotonic()
            await log.tell(big)
            await take(events, 1)
            lags.append(time.monotonic() - began)
            waiting = [len(one.waiting) for one in served.hub._everybody()]
            stalled_at_most = max(stalled_at_most, *waiting)
        assert max(lags) < 1
        assert stalled_at_most <= relay.BACKLOG
        await served.streams_become(1, within_s=6)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    await read_to_the_end(stuck)


async def read_to_the_end(reader, within_s=5.0):
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(within_s):
            while await loop.sock_recv(reader, 1 << 20):
                pass


async def test_a_reader_beyond_the_backlog_is_closed_and_holds_no_more():
    one = relay.Subscriber()
    for _ in range(relay.BACKLOG + 50):
        one.push(object())
    assert one.closed
    assert len(one.waiting) == relay.BACKLOG


async def test_a_silent_stream_has_heartbeats_without_ids(served, make_log, monkeypatch):
    monkeypatch.setattr(relay, "SILENCE_S", 1.0)
    log = await make_log()
    sheet = {"models": ["sim/fast"], "runs": 1, "visibility": "private"}
    async with served.follow(log.run_id) as events:
        assert await take(events, 1) == [1]
        async with asyncio.timeout(5):
            event = await anext(events)
        assert (event["event"], event["data"].keys()) == ("heartbeat", {"timestamp"})
        assert "id" not in event
    async with served.session.post(f"{served.url}/api/benchmark", json=sheet) as response:
        async with asyncio.timeout(5):
            lines = [(await response.content.readline()).decode() for _ in range(7)]
    assert lines[:2] == ["retry: 2000\n", "\n"]
    assert lines[2] == "id: 1\n"
    assert lines[5] == 'data: {"type":"heartbeat","status":"queued","position":2}\n'


def test_the_heartbeat_comes_well_before_clients_give_up():
    assert relay.SILENCE_S + 1 <= 15


async def caught_up(log, events):
    """Wait until the hub has just looked into the table, and listens."""
    await log.heard_by(1)
    await asyncio.sleep(0.4)  # it was deaf when it started, and looks more often while it is
    await log.commit(RESULT)
    assert await take(events, 1) == [2]


async def test_events_that_were_not_published_are_there_within_three_seconds(served, make_log):
    log = await make_log()
    async with served.follow(log.run_id) as events:
        assert await take(events, 1) == [1]
        await caught_up(log, events)
        began = time.monotonic()
        await log.commit(RESULT, RESULT)
        assert await take(events, 2) == [3, 4]
        assert time.monotonic() - began < 3


async def test_a_hole_is_filled_at_once_when_the_next_batch_shows_it(served, make_log):
    log = await make_log()
    async with served.follow(log.run_id) as events:
        assert await take(events, 1) == [1]
        await caught_up(log, events)
        began = time.monotonic()
        await log.commit(RESULT)
        await log.tell(RESULT)
        assert await take(events, 2) == [3, 4]
        assert time.monotonic() - began < 1


async def test_a_batch_that_comes_twice_or_late_is_told_once(served, make_log):
    log = await make_log()
    async with served.follow(log.run_id) as events:
        assert await take(events, 1) == [1]
        await log.heard_by(1)
        first, second = await log.commit(RESULT), await log.commit(RESULT)
        for told in (second, first, first, first + second):
            await log.publish(told)
        await log.end()
        assert await take(events, 9) == [2, 3, 4]


@pytest.mark.parametrize(
    "garbage", [b"\xc1", b"", b"hello", b"\x90", b"\x91\x93\xa1x\xa1x\xc4\x00"]
)
async def test_garbage_on_a_channel_ends_neither_the_stream_nor_the_hub(served, make_log, garbage):
    log = await make_log()
    async with served.follow(log.run_id) as events:
        assert await take(events, 1) == [1]
        await log.heard_by(1)
        await log.redis.publish(channel(log.run_id), garbage)
        await log.tell(RESULT)
        assert await take(events, 1) == [2]


@pytest.mark.parametrize("beyond", [2, 1_000_000, 10**17 - 1])
async def test_a_number_the_run_never_reached_starves_nobody(served, make_log, beyond):
    log = await make_log()
    async with served.follow(log.run_id, after=beyond) as liar:
        assert await take(liar, 1) == [1]
        async with served.follow(log.run_id) as honest:
            assert await take(honest, 1) == [1]
            await log.heard_by(1)
            await log.tell(RESULT)
            assert await take(honest, 1) == await take(liar, 1) == [2]


async def test_after_the_end_there_is_nothing_to_come_back_for(served, make_log):
    log = await make_log()
    await log.tell(RESULT)
    await log.end()
    path = f"/api/runs/{log.run_id}/events"
    status, _, body = await served.call("GET", path, headers={"Last-Event-ID": "3"})
    assert (status, body) == (204, b"")
    async with served.follow(log.run_id, after=2) as events:
        assert await take(events, 9) == [3]
    async with served.follow(log.run_id) as events:
        assert await take(events, 9) == [1, 2, 3]


async def test_a_failed_run_closes_with_its_message_not_with_json(served, make_log):
    log = await make_log()
    await log.tell(("error", b'{"code":"X","message":"All failed","run_id":"r"}'))
    async with served.follow(log.run_id) as events:
        seen = [event async for event in events]
    assert [event["event"] for event in seen] == ["status", "error", "status", "failed"]
    assert seen[-2]["data"]["status"] == "failed"
    assert seen[-1]["data"].keys() == {"exit_code", "error", "finished_at"}
    assert (seen[-1]["data"]["error"], seen[-1]["data"]["exit_code"]) == ("All failed", 1)


async def test_a_join_that_waits_for_redis_is_not_forgotten_when_another_leaves(served, make_log):
    """The first reader waits for SUBSCRIBE; meanwhile a second one comes and goes."""
    log = await make_log()
    hub, subscribe, gate = served.hub, served.hub._pubsub.subscribe, asyncio.Event()

    async def slow(name):
        await gate.wait()
        await subscribe(name)

    hub._pubsub.subscribe = slow
    first = asyncio.create_task(hub.join(log.run_id))

    async def entered():
        return hub._channels

    await until(entered, 2)
    second = await hub.join(log.run_id)
    await hub.leave(log.run_id, second)
    gate.set()
    assert hub.streams == 1
    await hub.leave(log.run_id, await first)
    assert hub.streams == 0
