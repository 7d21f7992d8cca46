"""Start Assay on a bare machine: Python 3.11 and pip are enough, and nothing is installed outside.

python3 run.py VERB ...

  demo    start everything, run a benchmark and an evaluation against a simulator, and leave nothing
  up      start everything and stay, until Ctrl-C
  test    run the tests; what follows goes to pytest
  check   run every check that a change must pass
  bench   measure Assay itself: bench queue | dispatch | sse

Any other verb goes to the `assay` command, as does `python3 run.py up --help`.
The first start makes .venv here (ASSAY_VENV=DIR puts it elsewhere) from the hashed lock file.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)  # annotations are quoted so that older ones get as far as saying so
MODULES = {"test": "pytest", "bench": "tests.benchmarks"}  # `bench run` is the command's own verb
LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("basedpyright",),
    ("lint-imports",),
    ("deptry", "."),
    ("vulture", "api", "worker", "scheduler", "db", "--min-confidence", "80"),
    ("pytest",),
)
NETWORK = re.compile(
    r"Retrying \(|Failed to establish|Max retries|Read timed out|SSLError|CERTIFICATE_VERIFY"
    r"|ProxyError|Name or service not known|Temporary failure in name resolution|HTTP error 5\d\d"
)
NO_WRITING = (errno.EROFS, errno.EACCES, errno.EPERM)


class Trouble(Exception):
    """Something a person has to do first; its message says what."""


def main(argv: "list[str]") -> int:
    try:
        if not argv or argv[0] in {"-h", "--help", "help"}:
            print((__doc__ or "").strip())
            return 0
        demand_python(sys.version_info[:2])
        venv = Path(os.getenv("ASSAY_VENV") or ROOT / ".venv").absolute()
        ours = argv[0] in (*MODULES, "check") and argv[:2] != ["bench", "run"]
        ensure(venv, "dev" if ours else "run")
        if argv[0] == "check":
            return check(venv / "bin")
        hand_over(str(venv / "bin" / "python"), argv, MODULES[argv[0]] if ours else "")
    except Trouble as trouble:
        print(f"run.py: {trouble}", file=sys.stderr)
    except OSError as error:
        print(f"run.py: {explain(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("run.py: interrupted; start it again to go on.", file=sys.stderr)
    return 1


def hand_over(python: str, argv: "list[str]", module: str) -> NoReturn:
    """Become the program that the verb names."""
    command = [python, "-P", "-m", "api.cli", *argv]  # -P: no `api` folder of the caller's
    if module:
        os.chdir(ROOT)
        command = [python, "-m", module, *argv[1:]]
    os.execv(python, command)  # noqa: S606 - the purpose of this script


def check(programs: Path) -> int:
    failed = False
    for words in CHECKS:
        began = time.monotonic()
        done = run([str(programs / words[0]), *words[1:]])
        verdict = "ok    " if done.returncode == 0 else "FAILED"
        print(f"{verdict} {time.monotonic() - began:6.1f} s  {' '.join(words)}", flush=True)
        failed = failed or done.returncode != 0
        print(done.stdout if done.returncode else "", end="", flush=True)
    return int(failed)


def ensure(venv: Path, kind: str) -> None:
    """Make or complete the environment, unless its stamp says that it is complete."""
    if is_complete(venv, kind):
        return
    venv.mkdir(parents=True, exist_ok=True)
    with (venv / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another start to finish installing")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_complete(venv, kind):
            build(venv, kind)


def is_complete(venv: Path, kind: str) -> bool:
    """Compare the stamp; the developers' lock holds all that the other does."""
    try:
        found = (venv / ".stamp").read_text()
    except OSError:
        return False
    kinds = ("dev",) if kind == "dev" else ("dev", "run")
    return (venv / "bin" / "python").exists() and found in [stamp(each) for each in kinds]


def stamp(kind: str) -> str:
    """Say what an environment was made from and for; the first line must hold for a repair."""
    content = (ROOT / LOCKS[kind]).read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return f"{identity()}\n{kind} {hashlib.sha256(content).hexdigest()}\n"


def identity() -> str:
    return f"Python {platform.python_version()} for {ROOT}"


def build(venv: Path, kind: str) -> None:
    """Build in place; `.building` marks a half-made one, and the stamp is written last."""
    began = time.monotonic()
    if must_start_anew(venv):
        clear(venv)
    (venv / ".stamp").unlink(missing_ok=True)
    (venv / ".building").touch()
    if not (venv / "bin" / "python").exists():
        create(venv)
    pip = find_pip(venv)
    total = (ROOT / LOCKS[kind]).read_text().count("==")
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / LOCKS[kind])]
    install([*pip, "install", *locked], f"installing up to {total} packages")
    editable = ["--no-deps", "--no-build-isolation", "--no-index", "-e", str(ROOT)]
    install([*pip, "install", *editable], "installing Assay")
    (venv / ".stamp").write_text(stamp(kind))
    (venv / ".building").unlink()
    say(f"ready after {time.monotonic() - began:.0f} s")


def must_start_anew(venv: Path) -> bool:
    """Rebuild what an interrupted start left, or what another Python or place was built for."""
    if (venv / ".building").exists():
        return True
    with contextlib.suppress(OSError):
        return (venv / ".stamp").read_text().partition("\n")[0] != identity()
    return False


def clear(venv: Path) -> None:
    """Empty it, except for the lock that we hold."""
    say(f"making {venv} anew")
    for path in venv.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def create(venv: Path) -> None:
    say(f"making {venv}")
    without = [] if importlib.util.find_spec("ensurepip") else ["--without-pip"]
    done = run([sys.executable, "-m", "venv", *without, str(venv)])
    if done.returncode != 0:
        raise Trouble(diagnosis(done.stdout, f"Python could not make {venv}"))


def find_pip(venv: Path) -> "list[str]":
    """Prefer the environment's own pip; Debian's can work on it from outside."""
    python = str(venv / "bin" / "python")
    if run([python, "-m", "pip", "--version"]).returncode == 0:
        return [python, "-m", "pip"]
    demand_own_pip()
    return [sys.executable, "-m", "pip", "--python", python]


def demand_own_pip() -> None:
    done = run([sys.executable, "-m", "pip", "--version"])
    version = re.match(r"pip (\d+)\.(\d+)", done.stdout)
    if done.returncode != 0 or version is None:
        raise Trouble(f"{sys.executable} has no pip: apt-get install python3-pip, and start again.")
    if (int(version[1]), int(version[2])) < (22, 3):
        raise Trouble("this pip is older than 22.3. Install python3-venv, or a newer pip.")


def demand_python(version: "tuple[int, int]") -> None:
    if version < OLDEST:
        raise Trouble(
            f"this is Python {version[0]}.{version[1]}, and Assay needs 3.11 or newer. "
            "Install one and call it by name: python3.11 run.py ..."
        )


def install(command: "list[str]", what: str) -> None:
    quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    progress = Progress(what)
    said: list[str] = []
    with subprocess.Popen(  # noqa: S603 - pip
        [*command, *quiet], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        try:
            for line in pip.stdout or ():
                said.append(line)
                progress.see(line)
        finally:
            progress.end()
    if pip.returncode != 0:
        raise Trouble(diagnosis("".join(said)))


def run(command: "list[str]") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - Python, pip and our checks
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


class Progress:
    """One line that counts, on a terminal; one line per step elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._collected = 0
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        if sys.stderr.isatty():
            self._ticker.start()
        else:
            say(what)

    def see(self, line: str) -> None:
        self._collected += line.startswith("Collecting ")
        if line.startswith("Installing collected") and self._collected:
            self._what = "unpacking packages"

    def end(self) -> None:
        self._done.set()
        if self._ticker.is_alive():
            self._ticker.join()

    def _tick(self) -> None:
        began = time.monotonic()
        while not self._done.wait(0.2):
            found = f", {self._collected} found" if self._collected else ""
            text = f"{self._what}{found}, {time.monotonic() - began:.0f} s"
            print(f"\r\033[Krun.py: {text}", end="", file=sys.stderr, flush=True)
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def say(text: str) -> None:
    print(f"run.py: {text}", file=sys.stderr, flush=True)


def diagnosis(output: str, what: str = "pip failed") -> str:
    """Put what pip said into one sentence about the cause and one about the cure."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return explain(OSError(errno.ENOSPC, "No space left on device"))
    if "DO NOT MATCH THE HASHES" in output:
        return (
            "a downloaded package is not the one that the lock file names, so nothing of it was "
            "installed. Try again; if it stays so, the package index is not to be trusted."
        )
    if NETWORK.search(output):
        return (
            f"the package index cannot be reached ({summary(output)}). Connect this machine, or "
            "name an index or proxy that it can reach in pip's configuration, and start again."
        )
    return f"{what}: {summary(output)}"


def summary(output: str) -> str:
    """Return pip's last complaint, on one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it said nothing"])[-1][:200]


def explain(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full. The environment needs 350 MB: free some and start again."
    if error.errno in NO_WRITING:
        return (
            f"{error.filename or ROOT} may not be written. Set ASSAY_VENV=DIR to a directory "
            "that may, and start again."
        )
    return f"{error.strerror}: {error.filename or ''}".rstrip(": ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
