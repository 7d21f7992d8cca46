"""Outlives a killed supervisor just long enough to stop the process groups it left.

Run by path, standard library only, in a session of its own. Lines on standard input:
`+PGID SIGNAL LAST STARTED` registers a group, `-PGID` forgets it; end of input means that the
supervisor is dead (or done, when nothing is registered).
"""

import os
import signal
import sys
import time
from pathlib import Path

GRACE_S = 8.0
LAST_S = 2.0
TICK_S = 0.1


def main() -> None:
    for deaf in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(deaf, signal.SIG_IGN)
    groups: dict[int, list[str]] = {}
    for line in sys.stdin:
        group, *facts = line[1:].split()
        if line[0] == "+":
            groups[int(group)] = facts
        else:
            groups.pop(int(group), None)
    end({pgid: facts for pgid, facts in groups.items() if is_same(pgid, facts[2])})


def end(groups: dict[int, list[str]]) -> None:
    for column, patience in ((0, GRACE_S), (1, LAST_S)):
        for pgid, facts in groups.items():
            send(pgid, int(facts[column]))
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(send(pgid, 0) for pgid in groups):
            time.sleep(TICK_S)
    for pgid in groups:
        send(pgid, signal.SIGKILL)


def send(pgid: int, number: int) -> bool:
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def is_same(pid: int, started: str) -> bool:
    """Tell a group of ours from a newer one; while members live their number is not given away."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True  # the leader is gone (or there is no /proc): its members are still ours
    return stat.rpartition(")")[2].split()[19] == started or started == "-"


if __name__ == "__main__":
    main()
