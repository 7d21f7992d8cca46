"""A floor with a user on it."""

import runpy
from pathlib import Path

import pytest

FLOOR = runpy.run_path(str(Path(__file__).with_name("floor.py")))


@pytest.fixture
def world(pool, redis):
    return FLOOR["World"](pool, redis)


@pytest.fixture
def local():
    """The user of an open service."""
    return FLOOR["LOCAL"]
