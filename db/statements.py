"""SQL as SQL: named statements read from `db/sql/*.sql`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from asyncpg import Record

HEADER: Final = re.compile(r"^-- name: (\w+) :(one|maybe|many|exec)$", re.MULTILINE)
FOLDER: Final = Path(__file__).parent / "sql"


class Executor(Protocol):
    """A pool or a connection."""

    async def fetch(self, query: str, /, *args: Any) -> list[Record]: ...
    async def fetchrow(self, query: str, /, *args: Any) -> Record | None: ...
    async def execute(self, query: str, /, *args: Any) -> str: ...


class Statement(NamedTuple):
    """One statement and how many rows it answers: one, maybe (0 or 1), many, exec (none)."""

    name: str
    shape: str
    sql: str

    async def one(self, db: Executor, /, *args: Any) -> Record:
        row = await db.fetchrow(self.sql, *args)
        if row is None:
            raise LookupError(self.name)
        return row

    async def maybe(self, db: Executor, /, *args: Any) -> Record | None:
        return await db.fetchrow(self.sql, *args)

    async def many(self, db: Executor, /, *args: Any) -> Sequence[Record]:
        return await db.fetch(self.sql, *args)

    async def exec(self, db: Executor, /, *args: Any) -> str:
        return await db.execute(self.sql, *args)


def load(noun: str) -> dict[str, Statement]:
    """Read the statements about `noun`, by name."""
    _, *parts = HEADER.split((FOLDER / f"{noun}.sql").read_text())
    return {
        name: Statement(name, shape, sql.strip().rstrip(";"))
        for name, shape, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }
