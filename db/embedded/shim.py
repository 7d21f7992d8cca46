"""Becomes the program on its command line: drops the account, and ties it to its parent's life.

Run by path, standard library only: `shim.py PARENT SIGNAL UID GID PROGRAM ARGS...`.
UID is a number, `-` to stay, or `map` to be `nobody` in a user namespace of its own.
"""

import ctypes  # imported before setuid: the standard library may lie below a closed directory
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534


def main(parent: int, death_signal: int, uid: str, gid: str, argv: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if uid == "map":
        become_nobody(libc)
    elif uid != "-":
        os.setgroups([int(gid)])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":  # after setuid: a change of credentials clears it
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl; under a subreaper the heir is not 1
        sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 - the purpose of this script


def become_nobody(libc: ctypes.CDLL) -> None:
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(
            ctypes.get_errno(),
            "this user has no name, and no user namespace may be made to give it one: add it to "
            "/etc/passwd, or set DATABASE_URL and REDIS_URL",
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
    except OSError as error:
        sys.exit(f"cannot run {sys.argv[5]}: {error.strerror}")
