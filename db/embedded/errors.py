"""What can keep the embedded stores from running; each message says what to do next."""

import errno
from pathlib import Path
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class EmbeddedError(Exception):
    """The embedded stores cannot run."""


class DataDirectoryBusy(EmbeddedError):
    def __init__(self, data: Path) -> None:
        super().__init__(
            f"Another Assay already uses {data}: stop it first, or choose another data directory."
        )


class DataDirectoryUnreachable(EmbeddedError):
    """The account that runs the stores cannot enter or write a directory."""


class DiskFull(EmbeddedError):
    def __init__(self, where: Path) -> None:
        super().__init__(f"No space is left for {where}: free some and start again.")


class BinariesMissing(EmbeddedError):
    """No server binary was found for a store."""


class VersionMismatch(EmbeddedError):
    """The data directory was written by a server that the present binary cannot follow."""


class PlatformUnsupported(EmbeddedError):
    """There are no server binaries for this operating system."""


class StartFailed(EmbeddedError):
    """A process ended, or stayed silent, before it was ready; `tail` is what it said last."""

    def __init__(self, name: str, what: str, tail: str, log: Path) -> None:
        said = f"\n{tail}" if tail else ""
        super().__init__(f"{name} did not start ({what}); its log is {log}.{said}")
        self.tail = tail


def explain(error: OSError, data: Path) -> EmbeddedError:
    """Word what the operating system refused below the data directory."""
    where = Path(str(error.filename or data))
    if error.errno in FULL:
        return DiskFull(where)
    return DataDirectoryUnreachable(
        f"Cannot use {where} ({error.strerror}): choose another data directory, "
        "or run as the user that owns it."
    )
