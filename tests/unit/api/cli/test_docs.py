"""The page about the command names every verb and exit code."""

from pathlib import Path

from api.cli.exits import EXITS
from api.cli.tree import VERBS

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "cli.md").read_text()


def test_every_exit_code_is_on_the_page():
    assert [code for code, words in EXITS.items() if f"| {code} | {words} |" not in PAGE] == []


def test_every_verb_is_on_the_page():
    assert [verb for verb in VERBS if f"`{verb}" not in PAGE and f"assay {verb}" not in PAGE] == []
