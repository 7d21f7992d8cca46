"""What the whole service on one machine is started with."""

from pathlib import Path

import pytest

from api.cli.config import origin, sift
from api.cli.demo import bare
from api.cli.stack import Wish, child_environ, programs, socket_folder
from db.embedded.stores import Stores

STORES = Stores("postgresql://app@/assay?host=/d/run", "unix:///d/run/valkey.sock?db=0")


def wish(**environ):
    return Wish(data=Path("/d"), environ=environ, host="127.0.0.1", port=8700, workers=2)


def test_children_get_the_embedded_stores_and_an_open_door():
    environ = child_environ(wish(PATH="/bin"), STORES, simulator=8600)
    assert environ == {
        "PATH": "/bin",
        "DATABASE_URL": STORES.database_url,
        "REDIS_URL": STORES.redis_url,
        "ASSAY_AUTH": "open",
        "ASSAY_SIM_URL": "http://127.0.0.1:8600",
        "ASSAY_HOST": "127.0.0.1",
        "ASSAY_PORT": "8700",
    }


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "ASSAY_AUTH", "ASSAY_SIM_URL"])
def test_what_is_set_wins(name):
    assert child_environ(wish(**{name: "mine"}), STORES, simulator=1)[name] == "mine"
    assert name not in child_environ(wish(**{f"{name}_FILE": "/f"}), STORES, simulator=1)


def test_the_port_on_the_command_line_wins():
    environ = child_environ(wish(ASSAY_PORT="1", ASSAY_PORT_FILE="/f"), STORES, simulator=1)
    assert (environ["ASSAY_PORT"], environ.get("ASSAY_PORT_FILE")) == ("8700", None)


def test_the_simulator_starts_first_and_so_stops_last():
    asked = wish()
    listed = programs(asked, child_environ(asked, STORES, simulator=8600))
    orders = {program.name: program.order for program in listed}
    assert orders == {"api": 1, "worker": 1, "scheduler": 1, "simulator": 0}
    assert {p.name: p.count for p in listed}["worker"] == 2


def test_no_simulator_beside_a_set_one():
    asked = wish(ASSAY_SIM_URL="http://sim:1")
    listed = programs(asked, child_environ(asked, STORES, simulator=8600))
    assert "simulator" not in {program.name for program in listed}


def test_a_workers_grace_covers_its_drain():
    asked = wish(ASSAY_DRAIN_S="90")
    listed = programs(asked, child_environ(asked, STORES, simulator=8600))
    assert {p.name: p.stop_grace_s for p in listed}["worker"] == 95


def test_where_the_sockets_lie():
    assert socket_folder(STORES.database_url) == Path("/d/run")
    assert socket_folder("") is None


def test_the_demonstration_obeys_no_setting():
    given = {"PATH": "/bin", "DATABASE_URL": "x", "REDIS_URL_FILE": "x", "ASSAY_NONSENSE": "1"}
    assert bare(given) == {"PATH": "/bin"}


def test_settings_are_parted_into_usable_and_faulty():
    valid, faults = sift({"ASSAY_SLOTS": "3", "ASSAY_PORT": "x", "ASSAY_FOO": "1", "HOME": "/"})
    assert valid == {"ASSAY_SLOTS": "3", "HOME": "/"}
    assert [fault.split()[0] for fault in faults] == ["ASSAY_PORT:", "ASSAY_FOO"]


def test_where_a_setting_comes_from():
    environ = {"ASSAY_SLOTS": "3", "REDIS_URL_FILE": "/f"}
    fields = ("slots", "redis_url", "port")
    assert [origin(environ, field) for field in fields] == ["environment", "file", "default"]
