"""Where things lie below a data directory, and who owns them."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from db.embedded.account import Account, choose, demand_reach
from db.embedded.errors import DataDirectoryUnreachable

SOCKET_PATH_LIMIT: Final = 107
LONGEST_NAME: Final = len("/.s.PGSQL.5432.lock")
ROOTS_DATA: Final = Path("/var/lib/assay")


class Place(NamedTuple):
    """`run` holds the sockets; `account` owns all but the data directory itself."""

    data: Path
    run: Path
    account: Account

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def valkey(self) -> Path:
        return self.data / "valkey"


def default_data(state_home: str | None = None) -> Path:
    """Return root's or the user's own directory; `state_home` is XDG_STATE_HOME, when set."""
    if os.geteuid() == 0:
        return ROOTS_DATA
    if state_home:
        return Path(state_home) / "assay"
    try:
        return Path.home() / ".local" / "state" / "assay"
    except RuntimeError as error:
        raise DataDirectoryUnreachable(
            "This user has no home directory: say where the data shall lie."
        ) from error


def prepare(data: Path) -> Place:
    """Make the directories of the stores, each private to the account that runs them."""
    data = data.resolve()
    account = choose(data / "postgres", data / "valkey")
    demand_reach(data / "postgres", account)
    place = Place(data, _run_directory(data), account)
    for folder in (place.postgres, place.valkey, place.run):
        own(folder, account)
    return place


def own(folder: Path, account: Account) -> None:
    """Make a directory of the account's; refuse one that somebody else put there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    wanted = os.geteuid() if account.uid is None else account.uid
    if folder.is_symlink() or facts.st_uid not in {os.geteuid(), wanted}:
        raise DataDirectoryUnreachable(f"{folder} belongs to another user: remove it and retry.")
    if facts.st_uid != wanted:
        os.chown(folder, wanted, -1 if account.gid is None else account.gid)
    folder.chmod(0o700)


def _run_directory(data: Path) -> Path:
    """Prefer the data directory; a socket's path is short, and its URL should need no escapes."""
    name = f"assay-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    for folder in (data / "run", Path(tempfile.gettempdir()) / name, Path("/tmp") / name):  # noqa: S108 - `own` refuses a stranger's
        path = str(folder)
        if len(os.fsencode(path)) + LONGEST_NAME <= SOCKET_PATH_LIMIT and quote(path) == path:
            return folder
    raise DataDirectoryUnreachable(
        f"No short directory for sockets: {data} and the temporary directory have long names; "
        "choose another data directory."
    )
