"""Tells one process from a later one with the same number, and signals groups."""

import os
import signal
from pathlib import Path
from typing import Final

STARTED_FIELD: Final = 19  # of those after the command's name; proc(5) counts it as 22
PROC: Final = Path("/proc")


def started(pid: int) -> str:
    """Return when the process was started, in ticks since boot; "-" where nobody can tell."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return "-"
    return stat.rpartition(")")[2].split()[STARTED_FIELD]


def boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "-"


def signal_group(pgid: int, number: int) -> bool:
    """Signal every member; False when none is left."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def group_lives(pgid: int) -> bool:
    return signal_group(pgid, 0)


def kill_group(pgid: int) -> None:
    signal_group(pgid, signal.SIGKILL)
