"""A supervisor and its programs as real processes: order, restarts, signals and sudden death."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

HOST = Path(__file__).with_name("supervised.py")
PYTHON = [sys.executable, "-S", "-u", "-c"]
SLEEP = "import time; time.sleep(600)"
WRITES_ITS_END = """
import signal, sys, time
def end(*_):
    open(sys.argv[1], "a").write(sys.argv[2] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
open(sys.argv[1], "a").write("+" + sys.argv[2] + " ")
time.sleep(600)
"""
FORKS = """
import os, time
os.fork()  # the kernel's death signal does not reach this one
print("two", flush=True)
time.sleep(600)
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print("deaf", flush=True)
time.sleep(600)
"""


class Host:
    """The supervisor's process and what it said."""

    def __init__(self, data, programs, **wish):
        self.data = data
        self.said = data / f"said-{time.monotonic_ns()}"
        wish = json.dumps({"data": str(data), "programs": programs, **wish})
        with self.said.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(HOST), wish], stdout=out, stderr=out, start_new_session=True
            )

    @property
    def text(self):
        return self.said.read_text()

    def is_up(self):
        assert self.process.poll() is None, self.text
        return "UP" in self.text

    def pid(self, name):
        with contextlib.suppress(OSError):
            entries = msgspec.json.decode((self.data / "processes.json").read_bytes())
            return next((each["pid"] for each in entries if each["name"] == name), None)

    def ended(self):
        return self.process.poll() is not None


@pytest.fixture
def start(data):
    hosts = []

    def begin(*programs, **wish):
        hosts.append(Host(data, programs, **wish))
        return hosts[-1]

    yield begin
    for host in hosts:
        if not host.ended():
            host.process.terminate()
            host.process.terminate()
            host.process.wait(20)


def program(name, code=SLEEP, *args, **facts):
    return {"name": name, "argv": [*PYTHON, code, *map(str, args)], **facts}


async def test_programs_start_in_order_and_stop_in_reverse(data, start, eventually):
    diary = data / "diary"
    diary.touch()
    names = ["first", "second", "third"]
    host = start(
        *(program(name, WRITES_ITS_END, diary, name, order=n) for n, name in enumerate(names))
    )
    await eventually(host.is_up)
    await eventually(lambda: diary.read_text().count("+") == 3)
    host.process.terminate()
    await eventually(host.ended)
    assert diary.read_text().split()[3:] == ["third", "second", "first"]
    assert host.process.returncode == 0


async def test_a_killed_program_is_restarted_alone(start, eventually):
    host = start(program("one"), program("two"))
    await eventually(host.is_up)
    one, two = host.pid("one"), host.pid("two")
    os.kill(one, signal.SIGKILL)
    await eventually(lambda: host.pid("one") not in {one, None})
    assert host.pid("two") == two
    assert "one ended by signal 9 (Killed)" in host.text


async def test_killed_stores_are_restarted(start, eventually):
    host = start(stores=True)
    await eventually(host.is_up)
    for name in ("postgres", "valkey"):
        pid = host.pid(name)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda name=name, pid=pid: host.pid(name) not in {pid, None})


async def test_a_program_that_fails_at_once_is_retried_slower_and_reported(start, eventually):
    host = start(program("bad", "print('no such model'); raise SystemExit(3)"))
    await eventually(lambda: "again in 0.8 s" in host.text)
    assert "bad ended with exit code 3\nno such model" in host.text
    pauses = [line.split()[-2] for line in host.text.splitlines() if "again in" in line]
    assert pauses[:3] == ["0.2", "0.4", "0.8"]


async def test_a_step_that_fails_stops_the_start_and_says_why(start, eventually):
    host = start(
        program("migrate", "raise SystemExit('no such table')", once=True), program("api", order=1)
    )
    await eventually(host.ended)
    assert host.process.returncode == 1
    assert "StartFailed: migrate did not start" in host.text
    assert "no such table" in host.text
    assert "UP" not in host.text


async def test_several_of_one_program_run_side_by_side(start, eventually):
    host = start(program("worker", count=3))
    await eventually(host.is_up)
    assert all(host.pid(f"worker-{n}") for n in (1, 2, 3))


async def test_a_stubborn_program_ends_after_its_grace(start, eventually, family, survivors):
    host = start(program("deaf", STUBBORN, stop_grace_s=0.5))
    await eventually(lambda: said(host, "deaf").count("deaf") == 2)
    everyone = family(host.process.pid)
    host.process.terminate()
    await eventually(host.ended)
    assert survivors(everyone) == []
    assert host.process.returncode == 0


async def test_the_second_signal_is_hard(start, eventually, family, survivors):
    host = start(program("deaf", STUBBORN, stop_grace_s=600))
    await eventually(lambda: said(host, "deaf").count("deaf") == 2)
    everyone = family(host.process.pid)
    host.process.send_signal(signal.SIGINT)
    await eventually(lambda: "stopping" in host.text)
    host.process.send_signal(signal.SIGHUP)
    await eventually(host.ended, within_s=5)
    assert survivors(everyone) == []


async def test_a_killed_supervisor_leaves_nothing(start, eventually, family, survivors):
    host = start(program("meek"), program("deaf", STUBBORN), stores=True)
    await eventually(host.is_up)
    await eventually(lambda: said(host, "deaf").count("deaf") == 2)
    everyone = family(host.process.pid)
    assert len(everyone) >= 6  # guard, two stores, meek, deaf and its child
    host.process.kill()
    host.process.wait()
    await eventually(lambda: not survivors(everyone), within_s=15)


async def test_without_its_guard_the_next_start_stops_what_is_left(
    start, eventually, family, survivors
):
    host = start(program("meek"), program("deaf", STUBBORN))
    await eventually(lambda: said(host, "deaf").count("deaf") == 2)
    everyone = family(host.process.pid)
    host.process.send_signal(signal.SIGSTOP)  # so that it cannot replace the guard
    guard_of(everyone).kill()
    host.process.kill()
    host.process.wait()
    await eventually(lambda: len(survivors(everyone)) == 2)  # the kernel ended meek
    following = start(program("meek"))
    await eventually(following.is_up)
    assert survivors(everyone) == []
    assert "left by a start that was killed" in following.text


async def test_a_start_waits_for_the_backends_of_a_killed_postgres(start, eventually, family):
    host = start(stores=True)
    await eventually(host.is_up)
    everyone = family(host.process.pid)
    postmaster = psutil.Process(host.pid("postgres"))
    lingering = postmaster.children()[0]
    lingering.suspend()
    for each in (host.process, guard_of(everyone), postmaster):
        each.send_signal(signal.SIGSTOP)
    for each in (guard_of(everyone), postmaster, host.process):
        each.kill()
    host.process.wait()
    following = start(stores=True)
    await eventually(lambda: "pre-existing shared memory" in said(host, "postgres"))
    lingering.resume()
    await eventually(following.is_up)


async def test_a_killed_guard_is_replaced_and_knows_everything(
    start, eventually, family, survivors
):
    host = start(program("pair", FORKS))
    await eventually(lambda: said(host, "pair").count("two") == 2)
    old = guard_of(family(host.process.pid))
    old.kill()
    await eventually(lambda: guard_of(family(host.process.pid)) not in {old, None})
    await asyncio.sleep(0.2)  # the new guard reads its pipe; nothing shows when it has
    everyone = family(host.process.pid)
    host.process.kill()
    host.process.wait()
    await eventually(lambda: not survivors(everyone), within_s=15)


async def test_a_second_supervisor_is_refused(start, eventually):
    await eventually(start(program("meek")).is_up)
    second = start(program("meek"))
    await eventually(second.ended)
    assert "DataDirectoryBusy" in second.text


async def test_a_long_log_is_set_aside_at_the_start(data, start, eventually):
    (data / "logs").mkdir()
    with (data / "logs" / "meek.log").open("wb") as log:
        log.truncate(6 * 1024 * 1024)
    await eventually(start(program("meek")).is_up)
    assert (data / "logs" / "meek.log").stat().st_size == 0
    assert (data / "logs" / "meek.log.1").exists()


def said(host, name):
    with contextlib.suppress(FileNotFoundError):
        return (host.data / "logs" / f"{name}.log").read_text()
    return ""


def guard_of(processes):
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(word.endswith("guard.py") for word in each.cmdline()):
                return each
    return None
