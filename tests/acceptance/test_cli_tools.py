"""Ways to run the `assay` command as people do, shared by its tests; holds none itself."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "api.cli"]
STARTED = []


def plain_environ(**more):
    """No setting of the caller's, and no terminal's width."""
    ours = ("ASSAY_", "DATABASE_URL", "REDIS_URL", "COLUMNS")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | more


def assay(*args, **environ):
    """Run a verb to its end."""
    return subprocess.run(
        [*COMMAND, *args],
        cwd=ROOT,
        env=plain_environ(**environ),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def begin(*args, **environ):
    """Start a verb that stays."""
    process = subprocess.Popen(
        [*COMMAND, *args],
        cwd=ROOT,
        env=plain_environ(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


def end_all():
    """Kill what a failed test left behind; a guard ends what that had started."""
    while STARTED:
        process = STARTED.pop()
        process.kill()
        for pipe in (process.stdout, process.stderr):
            pipe.close()
        process.wait()


def eventually(check, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not (held := check()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)
    return held


def family(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return set(psutil.Process(pid).children(recursive=True))
    return set()


def alive(processes):
    def lives(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in processes if lives(process)]


class Up:
    """A running `assay up`."""

    def __init__(self, data, **environ):
        self.data = data
        self.process = begin("up", "--port", "0", "--data", str(data), **environ)
        self.url = self._url()
        self.family = family(self.process.pid)

    def _url(self):
        for line in self.process.stderr:
            if line.startswith("Assay is ready at "):
                return line.split()[-1]
        self.process.communicate()
        raise AssertionError(f"up ended with {self.process.returncode}")

    def pid(self, name):
        entries = json.loads((self.data / "processes.json").read_bytes())
        return next((entry["pid"] for entry in entries if entry["name"] == name), None)

    def __call__(self, *args):
        return assay(*args, ASSAY_URL=self.url)

    def stop(self):
        """SIGTERM it; returns its exit code and what it said."""
        self.process.terminate()
        said = self.process.communicate(timeout=40)[1]
        return self.process.returncode, said


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def open_site(folder):
    """Serve a folder as some other program would; gives the port."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as site:
        yield int(site.stdout.readline().split(" port ")[1].split()[0])
        site.terminate()
