"""Brings a database to this version's schema, and words what keeps it from that."""

from typing import Final

from api.cli.exits import Ended
from api.cli.talk import brief, program
from db.domain.errors import AppError
from db.migrate import migrate
from db.pool import open_pool

WAIT_S: Final = 15.0  # a database that starts beside us may take so long


async def bring_up(database_url: str) -> tuple[str, ...]:
    """Apply the missing migrations and name them; raises AppError or Ended."""
    try:
        pool = await open_pool(database_url, 1, wait_s=WAIT_S)
        try:
            return await migrate(pool)
        finally:
            await pool.close()
    except AppError:
        raise
    except Exception as error:  # noqa: BLE001 - the driver's errors have no common root but this one
        hint = f"Start PostgreSQL or set DATABASE_URL right; `{program()} doctor` looks closer."
        raise Ended(brief(f"{type(error).__name__}: {error}"), hint=hint) from None
