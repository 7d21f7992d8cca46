"""A data directory with a short name, and ways to wait for processes to come and go."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def data():
    """Socket paths are limited to 107 bytes, so `tmp_path` is too long."""
    folder = Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def eventually():
    """Wait until a check holds, or fail after the deadline."""

    async def wait(check, within_s=15.0):
        deadline = time.monotonic() + within_s
        while True:
            held = check()
            if held:
                return held
            assert time.monotonic() < deadline, f"not within {within_s} s: {check}"
            await asyncio.sleep(0.05)

    return wait


@pytest.fixture
def family():
    """List every live descendant of a process."""

    def living(pid):
        return psutil.Process(pid).children(recursive=True)

    return living


@pytest.fixture
def survivors():
    """List those that still live: a zombie that nobody reaps is dead."""

    def living(processes):
        return [each for each in processes if each.is_running() and _status(each) != "zombie"]

    return living


def _status(process):
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return "zombie"
