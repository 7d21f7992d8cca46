"""What the documents say is so: commands, links, settings, events."""

import re
from pathlib import Path

import pytest

from api.cli.tree import VERBS
from db.domain.events import TERMINAL
from db.settings import BOOTSTRAP, Settings, variable

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEFAULTS = {variable(name): getattr(Settings(), name) for name in Settings.__struct_fields__}


def shell_blocks(page):
    return re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readme_begins_with_exactly_two_commands():
    commands = [line.partition("#")[0].strip() for line in shell_blocks(PAGES[0])[0].splitlines()]
    assert commands == ["python3 run.py demo", "python3 run.py test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(page):
    for block in shell_blocks(page):
        for verb in re.findall(
            r"(?:python3 run\.py|^assay|\$ assay) +([a-z]+)", block, re.MULTILINE
        ):
            assert verb in {*VERBS, "test", "check", "bench"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE)
    documented = {name: default.strip("`") for name, default in rows}
    expected = {name: "none" if value == () else str(value) for name, value in DEFAULTS.items()}
    assert documented == expected | dict.fromkeys(BOOTSTRAP, "none")


def test_every_event_a_run_tells_is_documented():
    text = (ROOT / "docs" / "reference" / "events.md").read_text()
    sources = [*(ROOT / "worker" / "runs").glob("*.py"), ROOT / "db" / "settle.py"]
    told = set(re.findall(r'make_event\(\s*"(\w+)"', "".join(s.read_text() for s in sources)))
    assert told >= TERMINAL
    assert told <= set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
