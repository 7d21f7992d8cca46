"""Migrations: once each, whole or not at all, whoever else migrates."""

import asyncio
import os
import signal
import sys
from uuid import uuid4

import asyncpg
import pytest

from db import migrate as migrations
from db.migrate import (
    LOCK,
    MigrationChanged,
    SchemaTooOld,
    list_migrations,
    migrate,
    require_schema,
)
from db.pool import open_pool

ALL = tuple(migration.name for migration in list_migrations())


@pytest.fixture
async def empty_url(stores):
    """Make an empty database."""
    name = f"empty_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(stores.database_url)
    await admin.execute(f"create database {name}")
    yield stores.database_url.replace("/assay?", f"/{name}?")
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.fixture
async def empty(empty_url):
    opened = await open_pool(empty_url, 6)
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the migrations that may be changed."""
    for path in migrations.FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    return tmp_path


def test_numbers_are_unique_and_in_order():
    numbers = [migration.number for migration in list_migrations()]
    assert numbers == sorted(set(numbers))


async def test_an_empty_database_is_refused_until_it_is_migrated(empty):
    with pytest.raises(SchemaTooOld):
        await require_schema(empty)
    assert await migrate(empty) == ALL
    await require_schema(empty)
    assert await migrate(empty) == ()


async def test_migrators_at_once_apply_each_file_once(empty):
    found = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(found) == [(), (), (), ALL]
    assert await empty.fetchval("select count(*) from migrations") == len(ALL)


async def test_an_edited_file_is_refused(empty, folder):
    await migrate(empty)
    first = min(folder.glob("*.sql"))
    first.write_text(first.read_text() + "-- edited\n")
    with pytest.raises(MigrationChanged, match=first.stem):
        await migrate(empty)


async def test_a_newer_database_is_fine(empty, folder):
    (folder / "9998_later.sql").write_text("create table later (id integer)")
    await migrate(empty)
    (folder / "9998_later.sql").unlink()
    await require_schema(empty)
    assert await migrate(empty) == ()


async def test_a_file_that_fails_leaves_nothing_and_keeps_those_before(empty, folder):
    (folder / "9998_good.sql").write_text("create table good (id integer)")
    (folder / "9999_bad.sql").write_text("create table half (id integer); select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty)
    assert await empty.fetchval(
        "select to_regclass('half') is null and to_regclass('good') is not null"
    )
    (folder / "9999_bad.sql").write_text("create table half (id integer)")
    assert await migrate(empty) == ("9999_bad",)


async def test_a_file_that_cannot_be_noted_is_not_applied(empty, folder):
    (folder / "9999_full.sql").write_text(
        "create table half (id integer);"
        "alter table migrations add constraint full_up check (number < 9999);"
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await migrate(empty)
    assert await empty.fetchval("select to_regclass('half') is null")


async def test_a_migrator_killed_in_the_middle_leaves_nothing_and_no_lock(empty, empty_url, folder):
    (folder / "9999_slow.sql").write_text("create table half (id integer); select pg_sleep(60);")
    program = (
        "import asyncio, sys; from pathlib import Path; from db import migrate; from db.pool import open_pool\n"
        "migrate.FOLDER = Path(sys.argv[2])\n"
        "async def main(): await migrate.migrate(await open_pool(sys.argv[1], 1))\n"
        "asyncio.run(main())"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, empty_url, str(folder), env=dict(os.environ)
    )
    sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()"
    async with asyncio.timeout(10):
        while not await empty.fetchval(sleeping):
            await asyncio.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    await empty.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()"
    )
    (folder / "9999_slow.sql").write_text("create table half (id integer)")
    async with asyncio.timeout(10):
        assert await migrate(empty) == ("9999_slow",)
    assert await empty.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    assert LOCK > 0
