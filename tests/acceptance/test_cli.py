"""The `assay` command as a client: real processes, real signals."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.acceptance.test_cli_tools import (
    ROOT,
    Up,
    assay,
    begin,
    end_all,
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


def test_a_benchmark_is_run_listed_and_shown(up):
    done = up("bench", "run", "sim/fast", "--runs", "2", "--tier", "0", "--tier", "1000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sim/fast") == 2
    assert "4 of 4 samples, 0 failed" in done.stdout
    run_id = done.stderr.split()[1]
    assert json.loads(up("run", "list", "--json").stdout)[0]["run_id"] == run_id
    assert run_id[:8] in up("run").stdout
    for name in (run_id, run_id[:9], "@last"):
        assert f"run      {run_id}" in up("run", "show", name).stdout
    detail = json.loads(up("run", "show", "@last", "--json", "--samples").stdout)
    assert detail["run_id"] == run_id
    assert len(detail["samples"]) == len(detail["attempts"]) == 4


def test_json_lines_from_launch_to_done(up):
    told = lines(up("bench", "run", "sim/fast", "--runs", "2", "--json").stdout)
    assert (told[0]["event"], told[-1]["event"]) == ("launch", "done")
    assert [each["id"] for each in told[1:-1]] == list(range(1, len(told) - 1))
    assert [each["event"] for each in told].count("result") == 2
    assert (told[-1]["status"], told[-1]["exit_code"]) == ("completed", 0)
    assert told[-1]["summary"]["rows"][0]["ok"] == 2
    again = lines(up("run", "watch", told[0]["run_id"], "--json").stdout)
    assert again == told


def test_a_detached_run_is_cancelled(up):
    run_id = up("bench", "run", "sim/never-ends", "--detach").stdout.strip()
    assert up("run", "cancel", run_id[:12]).returncode == 0
    watched = up("run", "watch", run_id)
    assert watched.returncode == 11
    assert "canceled" in watched.stderr
    assert up("run", "list", "--status", "canceled").stdout.count(run_id[:8]) == 1
    again = up("run", "cancel", run_id)
    assert (again.returncode, "not currently running" in again.stderr) == (1, True)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_detaches_and_a_second_one_cancels(up, times):
    process = begin("bench", "run", "sim/slow", "--runs", "1", ASSAY_URL=up.url)
    run_id = process.stderr.readline().split()[1]
    while "running" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert "Detached" in process.stderr.readline()
    assert f"run cancel {run_id}" in process.stderr.readline()
    if times == 2:
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()
    ended = "canceled" if times == 2 else "completed"
    watched = up("run", "watch", run_id, "--json")
    assert lines(watched.stdout)[-1]["status"] == ended


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("bench", "run", "nope"), 3, "Unknown model: 'nope'"),
        (("bench", "run", "sim/fast", "--runs", "1000"), 3, "runs"),
        (("bench", "run"), 2, "MODEL"),
        (("run", "show", "ffffffff"), 5, "run list"),
        (("run", "show", "00000000-0000-4000-8000-000000000000"), 5, "Run not found"),
        (("run", "list", "--status", "odd"), 2, "odd"),
        (("--server", "http://127.0.0.1:1", "run"), 6, "Connection refused"),
        (("--server", "nonsense", "run"), 2, "not an http URL"),
        (("bench", "run", "sim/garbage", "--runs", "1", "--no-warmup"), 11, "The run failed"),
    ],
)
def test_what_goes_wrong_has_words_and_an_exit_code(up, args, code, said):
    done = up(*args)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["list", "show"])
def test_a_server_that_is_not_assay(folder, verb):
    """It answers 200 to the list, and 404 to what is below it."""
    (folder / "api").mkdir(exist_ok=True)
    (folder / "api" / "runs").write_text("<html>")
    args = ["list"] if verb == "list" else ["show", "00000000-0000-4000-8000-000000000000"]
    with open_site(folder) as port:
        done = assay("--server", f"http://127.0.0.1:{port}", "run", *args)
    assert done.returncode == 6
    assert "not as Assay" in done.stderr


def test_a_dry_run_submits_nothing(up):
    before = up("run", "list", "--json").stdout
    done = up("bench", "run", "sim/fast", "sim/slow", "--tier", "0", "--tier", "99000", "--dry-run")
    assert "2 models x 2 tiers x 3 runs = 6 samples, and 2 warm-up calls" in done.stdout
    assert up("run", "list", "--json").stdout == before


def test_the_doctor_finds_all_well(up):
    url = f"postgresql://app@/assay?host={up.data}/run"
    done = assay("doctor", "--json", DATABASE_URL=url, ASSAY_URL=up.url)
    found = {each["what"]: each["state"] for each in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert {found[name] for name in ("Python", "settings", "PostgreSQL", "service")} == {"ok"}


def test_the_doctor_says_what_to_do():
    environ = {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "ASSAY_SLOTS": "none"}
    done = assay("doctor", ASSAY_URL="http://127.0.0.1:1", **environ)
    assert done.returncode == 1
    states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    names = ("settings", "PostgreSQL", "service", "Python")
    assert [states[name] for name in names] == ["fail", "fail", "warn", "ok"]
    for words in ("ASSAY_SLOTS", "set DATABASE_URL right", "No service at http://127.0.0.1:1"):
        assert words in done.stdout
    assert "Traceback" not in done.stderr


def test_config_lists_all_and_names_what_is_wrong():
    url = "postgresql://u:secret@db/x"
    done = assay("config", "--json", DATABASE_URL=url, ASSAY_FOO="1")
    rows = {row["variable"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 78
    assert "ASSAY_FOO is not a setting" in done.stderr
    assert rows["DATABASE_URL"]["value"] == "postgresql://u:***@db/x"
    assert (rows["DATABASE_URL"]["from"], rows["ASSAY_PORT"]["from"]) == ("environment", "default")
    assert assay("config").returncode == 0


def test_a_wrong_setting_is_told_in_one_line():
    done = assay("run", "list", ASSAY_PORT="many")
    assert done.returncode == 78
    assert done.stderr.startswith("assay: ASSAY_PORT: ")
    assert done.stderr.count("\n") == 1


def test_help_shows_the_exit_codes_and_imports_little():
    done = assay("--help")
    assert done.returncode == 0
    assert "11 the run failed" in done.stdout
    heavy = (
        "import sys, api.cli.__main__; print({'aiohttp', 'asyncpg', 'litestar'} & {*sys.modules})"
    )
    found = subprocess.run(
        [sys.executable, "-c", heavy], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout.strip() == "set()"


def test_a_reader_that_leaves_early_is_no_error():
    process = begin("config")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(10) == 1
    process.stderr.close()
