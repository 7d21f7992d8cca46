"""The shape of the tree: budgets, tables that must agree, SQL that is only ever SQL."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from db.domain import errors
from db.domain.catalog import PROVIDERS
from db.domain.specs import KINDS
from db.statements import FOLDER, load
from worker.providers.table import WIRES
from worker.runs.table import JOBS

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "scheduler", "db")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
QUERIES = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ASKING = [
    path
    for path in FILES
    if path.relative_to(ROOT).parts[0] != "api" and "embedded" not in path.parts
]


def tree(path):
    return ast.parse(path.read_text())


def is_literal(node):
    """A literal or a plain name; never something put together on the spot."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    return isinstance(node, ast.Name | ast.Attribute)


def spliced(path):
    """Where something else than a literal or a name reaches a query."""
    for node in ast.walk(tree(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr in QUERIES and node.args and not is_literal(node.args[0]):
            yield f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_module_explains_itself_in_a_sentence(path):
    said = ast.get_docstring(tree(path))
    assert said, "no docstring"
    assert said.split("\n\n")[0].rstrip().endswith(".")


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_function_is_longer_than_40_lines(path):
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree(path))
        if isinstance(node, FUNCTIONS) and node.end_lineno - node.lineno + 1 > 40
    ]
    assert not long


def test_every_kind_of_run_has_its_job_and_every_job_its_kind():
    assert set(JOBS) == set(KINDS)


def test_every_provider_speaks_a_wire_that_exists():
    assert {provider.wire for provider in PROVIDERS.values()} <= set(WIRES)
    assert all(key == provider.key for key, provider in PROVIDERS.items())


def test_model_ids_are_unique_over_all_providers():
    ids = [model.model_id for provider in PROVIDERS.values() for model in provider.models]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("noun", sorted(path.stem for path in FOLDER.glob("*.sql")))
def test_every_statement_is_used_as_its_shape_says(noun):
    source = "".join(path.read_text() for path in FILES if path.is_relative_to(ROOT / "db"))
    for name, statement in load(noun).items():
        assert f'SQL["{name}"].{statement.shape}(' in source, name


def test_every_statement_that_is_asked_for_exists():
    known = {name for path in FOLDER.glob("*.sql") for name in load(path.stem)}
    for path in FILES:
        assert set(re.findall(r'SQL\["(\w+)"\]', path.read_text())) <= known


@pytest.mark.parametrize("path", ASKING, ids=[str(path.relative_to(ROOT)) for path in ASKING])
def test_no_query_is_put_together_from_parts(path):
    assert not list(spliced(path))


def test_a_spliced_query_would_be_seen(tmp_path):
    bad = ['f"select {x}"', '"select %s" % x', '"select " + x', '"select {}".format(x)']
    for text in bad:
        (tmp_path / "bad.py").write_text(f"async def f(db, x):\n    await db.fetch({text})\n")
        assert list(spliced(tmp_path / "bad.py")), text


def error_classes():
    found, rest = [], [errors.AppError]
    while rest:
        one = rest.pop()
        found.append(one)
        rest += one.__subclasses__()
    return [one for one in found if one.__module__.split(".")[0] in PACKAGES]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_has_a_message_and_a_code(error):
    assert "__doc__" in vars(error)
    assert error.__doc__.strip()
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)+", error.code)


def test_errors_that_are_raised_have_codes_of_their_own():
    own = [e for _, e in inspect.getmembers(errors, inspect.isclass) if "code" in vars(e)]
    codes = [error.code for error in own]
    assert len(codes) == len(set(codes))
