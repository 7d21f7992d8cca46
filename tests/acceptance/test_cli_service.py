"""The `assay` command as it starts the service: `demo`, `up`, `worker`, `migrate`."""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.acceptance.test_cli_tools import (
    Up,
    alive,
    assay,
    begin,
    end_all,
    eventually,
    family,
    lines,
    open_site,
)


@pytest.fixture(scope="module")
def folder():
    """A short, enterable directory: sockets and the stores' account need that."""
    made = Path(tempfile.mkdtemp(prefix="assay-cli-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    end_all()
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def up(folder):
    running = Up(folder / "shared")
    yield running
    running.stop()


def test_the_demonstration_measures_and_leaves_nothing(folder):
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o711)
    began = time.monotonic()
    process = begin("demo", TMPDIR=str(temporary))
    seen = set()
    while process.poll() is None:
        seen |= family(process.pid)
        time.sleep(0.2)
    out, said = process.communicate()
    assert process.returncode == 0, said
    assert time.monotonic() - began < 60
    rows = [line for line in out.splitlines() if line.startswith(("sim/", "sim_anthropic/"))]
    assert len(rows) == 6
    assert all(" 3/3 " in row for row in rows)
    assert "18 of 18 samples, 0 failed" in out
    assert "18/18 samples" in said
    assert len(seen) > 6
    assert alive(seen) == []
    assert list(temporary.iterdir()) == []


def test_an_interrupted_demonstration_leaves_nothing(folder):
    temporary = folder / "tmp-interrupted"
    temporary.mkdir()
    temporary.chmod(0o711)
    process = begin("demo", TMPDIR=str(temporary))
    while "benchmark of" not in process.stderr.readline():
        pass
    started = family(process.pid)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert started
    assert alive(started) == []
    assert list(temporary.iterdir()) == []


def test_a_watched_run_outlives_its_api_and_sigterm_stops_all(folder):
    running = Up(folder / "killed")
    watching = begin("bench", "run", "sim/slow", "--runs", "2", "--json", ASSAY_URL=running.url)
    for line in watching.stdout:
        if '"running"' in line:
            break
    first = running.pid("api")
    os.kill(first, signal.SIGKILL)
    told = lines(watching.communicate(timeout=40)[0])
    assert (told[-1]["event"], told[-1]["exit_code"]) == ("done", 0)
    numbers = [each["id"] for each in told[:-1]]
    assert numbers == list(range(3, 3 + len(numbers)))
    assert eventually(lambda: running.pid("api")) != first
    everybody = running.family | family(running.process.pid)
    assert len(alive(everybody)) >= 6
    code, said = running.stop()
    assert (code, said.splitlines()[-1].endswith("stopped")) == (0, True)
    assert "api ended by signal 9" in said
    assert alive(everybody) == []


def test_a_port_that_assay_holds(up):
    done = assay("up", "--port", up.url.rsplit(":", 1)[1])
    assert done.returncode == 1
    assert done.stderr.startswith(f"assay: Assay already runs at {up.url}:")
    assert done.stderr.count("\n") == 1


def test_a_port_that_a_stranger_holds(folder):
    with open_site(folder) as port:
        done = assay("up", "--port", str(port), "--data", str(folder / "none"))
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken by another program" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "none").exists()


def test_a_data_directory_in_use(up):
    done = assay("up", "--port", "0", "--data", str(up.data))
    assert done.returncode == 1
    assert "Another Assay already uses" in done.stderr.splitlines()[-1]


def test_an_open_door_to_the_world_is_refused(folder):
    done = assay("up", "--port", "0", "--host", "0.0.0.0", "--data", str(folder / "none"))
    assert done.returncode == 78
    assert "ASSAY_AUTH=open lets anybody in" in done.stderr
    assert not (folder / "none").exists()


def replaced(victim, living):
    return len(living) == 2 and victim not in living and set(living)


def test_several_workers_under_one(up):
    environ = {
        "DATABASE_URL": f"postgresql://app@/assay?host={up.data}/run",
        "REDIS_URL": f"unix://{up.data}/run/valkey.sock?db=0",
    }
    process = begin("worker", "--processes", "2", **environ)
    first = eventually(lambda: len(family(process.pid)) == 2 and family(process.pid))
    victim = min(first, key=lambda each: each.pid)
    while "ready" not in process.stderr.readline():
        pass
    victim.kill()
    second = eventually(lambda: replaced(victim, alive(family(process.pid))))
    process.terminate()
    assert process.wait(20) == 0
    assert alive(first | second) == []
    assert "ended by signal 9 (Killed)" in process.communicate()[1]


def test_migrate_says_what_it_did(up):
    url = f"postgresql://app@/assay?host={up.data}/run"
    done = assay("migrate", DATABASE_URL=url)
    assert (done.returncode, "up to date" in done.stderr) == (0, True)
    missing = assay("migrate", DATABASE_URL=url.replace("/assay?", "/nowhere?"))
    assert missing.returncode == 1
    assert '"nowhere" does not exist' in missing.stderr
    assert "Traceback" not in missing.stderr


def test_stores_that_are_set_are_used(up, folder):
    environ = {
        "DATABASE_URL": f"postgresql://app@/assay?host={up.data}/run",
        "REDIS_URL": f"unix://{up.data}/run/valkey.sock?db=0",
    }
    second = Up(folder / "second", **environ)
    assert not [*(second.data / "postgres").iterdir(), *(second.data / "valkey").iterdir()]
    assert second("bench", "run", "sim/fast", "--runs", "1").returncode == 0
    assert second("run", "list", "--json").stdout == up("run", "list", "--json").stdout
    assert second.stop()[0] == 0


def test_a_program_that_cannot_start_is_told_in_a_line(folder):
    done = assay("up", "--port", "0", "--data", str(folder / "failed"), REDIS_URL="redis://x:odd")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("assay: api did not start")
    assert "Port could not be cast" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_set_database_that_does_not_serve_is_told_in_a_line(up, folder):
    url = f"postgresql://app@/nowhere?host={up.data}/run"
    done = assay("up", "--port", "0", "--data", str(folder / "away"), DATABASE_URL=url)
    assert done.returncode == 1
    assert '"nowhere" does not exist' in done.stderr
    assert done.stderr.splitlines()[-1].endswith("doctor` looks closer.")
    assert "Traceback" not in done.stderr


def test_a_closed_terminal_does_not_keep_it_from_stopping(folder):
    running = Up(folder / "closed")
    running.process.stderr.close()
    running.process.send_signal(signal.SIGHUP)
    assert running.process.wait(20) == 0
    assert alive(running.family) == []
