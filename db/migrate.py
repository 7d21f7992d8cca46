"""Forward-only migrations: numbered SQL files, each applied once, whole or not at all."""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from asyncpg import LockNotAvailableError

from db.domain.errors import AppError
from db.pool import Connection, Pool

FOLDER: Final = Path(__file__).parent / "sql" / "migrations"
LOCK: Final = 0x41_53_53_41_59  # "ASSAY"; two migrators wait for each other

CREATE_LEDGER: Final = """
create table if not exists migrations (
  number integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
)"""


class MigrationChanged(AppError):
    """A migration that was already applied has been edited."""


class SchemaTooOld(AppError):
    """The database lacks migrations: run `assay migrate` first."""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def list_migrations() -> tuple[Migration, ...]:
    """Read every migration, in order."""
    files = sorted(FOLDER.glob("[0-9]*.sql"))
    return tuple(Migration(int(f.name.split("_")[0]), f.stem, f.read_text()) for f in files)


async def migrate(pool: Pool) -> tuple[str, ...]:
    """Apply what is missing and name it; raise MigrationChanged on an edited file."""
    async with pool.acquire() as connection:
        await connection.execute("select pg_advisory_lock($1)", LOCK)
        try:
            await connection.execute(CREATE_LEDGER)
            return await _apply_missing(connection)
        finally:
            await connection.execute("select pg_advisory_unlock($1)", LOCK)


async def require_schema(pool: Pool) -> None:
    """Raise SchemaTooOld unless every known migration is applied; newer ones are fine."""
    ledger = await pool.fetchval("select to_regclass('migrations')")
    applied = await pool.fetchval("select max(number) from migrations") if ledger else None
    if (applied or 0) < list_migrations()[-1].number:
        raise SchemaTooOld


async def _apply_missing(connection: Connection) -> tuple[str, ...]:
    rows = await connection.fetch("select number, checksum from migrations")
    applied = {row["number"]: row["checksum"] for row in rows}
    fresh = [m for m in list_migrations() if not _is_applied(m, applied)]
    for migration in fresh:
        await _apply(connection, migration)
    return tuple(migration.name for migration in fresh)


def _is_applied(migration: Migration, applied: dict[int, str]) -> bool:
    checksum = applied.get(migration.number)
    if checksum not in (None, migration.checksum):
        raise MigrationChanged(f"Migration {migration.name} was edited after it was applied.")
    return checksum is not None


async def _apply(connection: Connection, migration: Migration, *, tries: int = 5) -> None:
    """Give up on a table lock after 5 s rather than queue all traffic behind it, then retry."""
    for left in reversed(range(tries)):
        try:
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '5s'")
                await connection.execute(migration.sql)
                await connection.execute(
                    "insert into migrations (number, name, checksum) values ($1, $2, $3)",
                    migration.number, migration.name, migration.checksum,
                )  # fmt: skip
        except LockNotAvailableError:
            if not left:
                raise
        else:
            return
