"""Other people's files: each is known, unchanged and under a licence that lies beside it."""

import hashlib
import tomllib
from pathlib import Path

import pytest

VENDOR = Path(__file__).parents[2] / "api" / "web" / "vendor"
PACKAGES = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["package"]
FILES = {name: entry for package in PACKAGES for name, entry in package["files"].items()}


def test_every_vendored_file_is_written_down_and_no_other():
    assert {path.name for path in VENDOR.iterdir()} == {"VENDOR.toml", *FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_vendored_file_is_what_its_publisher_released(name):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == FILES[name]["sha256"]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package["name"])
def test_a_package_names_version_and_licence_and_brings_its_text(package):
    assert package.keys() == {"name", "version", "registry", "licence", "files"}
    assert package["licence"] in {"Apache-2.0", "MIT"}
    [text] = [name for name in package["files"] if name.endswith(".LICENSE")]
    word = {"Apache-2.0": "Apache License", "MIT": "MIT License"}[package["licence"]]
    assert word in (VENDOR / text).read_text()
