"""Chooses the account that runs the stores: PostgreSQL refuses root and nameless users."""

import os
import pwd
import sys
from pathlib import Path
from typing import Final, NamedTuple

from db.embedded.errors import DataDirectoryUnreachable, PlatformUnsupported

PREFERRED: Final = ("postgres", "nobody")
CHOWN_SETGID_SETUID: Final = 1 << 0 | 1 << 6 | 1 << 7


class Account(NamedTuple):
    """`uid` is None to stay who we are; `namespace` gives a nameless user a name of its own."""

    uid: int | None = None
    gid: int | None = None
    namespace: bool = False


STAY: Final = Account()


def choose(*kept: Path) -> Account:
    """Return the owner of the first directory that exists already, else the safest account."""
    if sys.platform not in {"linux", "darwin"}:
        raise PlatformUnsupported(
            f"There are no embedded stores for {sys.platform}: set DATABASE_URL and REDIS_URL."
        )
    if os.geteuid() != 0:
        return STAY if _has_name(os.geteuid()) else Account(namespace=True)
    account = _owner(kept) or _named()
    if account is None or not _may_become(account.uid):
        return Account(namespace=True)
    return account


def reachable(path: Path, account: Account) -> bool:
    """Tell whether the account may enter every directory above the path."""
    return blocked(path, account) is None


def blocked(path: Path, account: Account) -> Path | None:
    """Return the topmost directory above the path that the account may not enter."""
    if account.uid is None:
        return None
    for folder in reversed(path.resolve().parents):
        facts = folder.stat()
        bit = 0o001
        if facts.st_uid == account.uid:
            bit = 0o100
        elif facts.st_gid == account.gid:
            bit = 0o010
        if not facts.st_mode & bit:
            return folder
    return None


def demand_reach(path: Path, account: Account) -> None:
    closed = blocked(path, account)
    if closed is not None:
        name = _name(account.uid)
        raise DataDirectoryUnreachable(
            f"The stores run as {name}, which may not enter {closed}: choose a data directory "
            "outside it (root's default is /var/lib/assay)."
        )


def _owner(kept: tuple[Path, ...]) -> Account | None:
    for folder in kept:
        if folder.is_dir() and folder.stat().st_uid != 0:
            return Account(folder.stat().st_uid, folder.stat().st_gid)
    return None


def _named() -> Account | None:
    for name in PREFERRED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return None


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(os.geteuid() if uid is None else uid).pw_name
    except KeyError:
        return f"user {uid}"


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _may_become(uid: int | None) -> bool:
    """Root of a rootless container may hold one uid only, or lack the capabilities."""
    proc = Path("/proc/self")
    if uid is None or not (proc / "uid_map").exists():
        return uid is not None
    ranges = [[int(word) for word in line.split()] for line in _lines(proc / "uid_map")]
    if not any(first <= uid < first + count for first, _, count in ranges):
        return False
    held = next((line for line in _lines(proc / "status") if line.startswith("CapEff:")), None)
    return held is None or int(held.split()[1], 16) & CHOWN_SETGID_SETUID == CHOWN_SETGID_SETUID


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
