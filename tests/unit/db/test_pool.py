"""What counts as an outage of Postgres: to be tried again, and told to clients as 503."""

import asyncpg
import pytest

from db.pool import OUTAGES


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CannotConnectNowError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.CrashShutdownError,
        asyncpg.DeadlockDetectedError,
        asyncpg.DiskFullError,
        asyncpg.InternalClientError,  # "cannot switch to state 15" of a dying connection
        asyncpg.PostgresIOError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.TooManyConnectionsError,
        ConnectionRefusedError,
        TimeoutError,
    ],
)
def test_what_a_dying_server_raises_is_an_outage(error):
    assert issubclass(error, OUTAGES)


@pytest.mark.parametrize("error", [asyncpg.UniqueViolationError, asyncpg.UndefinedTableError])
def test_a_mistake_of_ours_is_not(error):
    assert not issubclass(error, OUTAGES)
