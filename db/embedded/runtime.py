"""Copies the servers out of a virtual environment that the stores' account may not enter."""

import os
import shutil
from pathlib import Path

from db.embedded.account import Account, reachable
from db.embedded.binaries import Found
from db.embedded.errors import explain


def usable(found: Found, data: Path, account: Account) -> Path:
    """Return a path to the binary that the account can run."""
    if reachable(found.path, account) or not found.trees:
        return found.path
    try:
        return _copied(found, data / "runtime")
    except OSError as error:
        raise explain(error, data) from error


def _copied(found: Found, runtime: Path) -> Path:
    """Copy once per build, keeping the relative layout that the libraries are found by."""
    facts = found.path.stat()
    name = f"{found.server}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
    base = found.trees[0].parent.parent
    copy = runtime / name
    if not copy.exists():
        _clear(runtime, found.server)
        fresh = runtime / f"{name}.new"
        for tree in found.trees:
            if tree.exists():
                shutil.copytree(tree, fresh / tree.relative_to(base), symlinks=True)
        _open(fresh)
        fresh.rename(copy)
    return copy / found.path.relative_to(base)


def _clear(runtime: Path, server: str) -> None:
    runtime.mkdir(exist_ok=True)
    runtime.chmod(0o755)
    for old in runtime.glob(f"{server}-*"):
        shutil.rmtree(old)


def _open(fresh: Path) -> None:
    """Undo a strict umask: the account reads what root wrote."""
    for folder, _, files in os.walk(fresh):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                path.chmod(
                    path.stat().st_mode | 0o444 | (path.stat().st_mode & 0o100) // 0o100 * 0o111
                )
