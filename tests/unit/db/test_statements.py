"""The loader cuts files at their headers and keeps everything between."""

import pytest

from db import statements
from db.statements import FOLDER, HEADER, load


def test_each_file_is_read_whole():
    for path in FOLDER.glob("*.sql"):
        found = load(path.stem)
        assert list(found) == [m[1] for m in HEADER.finditer(path.read_text())]
        for name, statement in found.items():
            assert statement.name == name
            assert statement.sql
            assert ";" not in _code(statement.sql), f"{name} is one statement"


def _code(sql):
    return "\n".join(line.partition("--")[0] for line in sql.splitlines())


def test_names_are_unique_over_all_files():
    names = [name for path in FOLDER.glob("*.sql") for name in load(path.stem)]
    assert len(names) == len(set(names))


def test_shapes_comments_and_ends_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(statements, "FOLDER", tmp_path)
    (tmp_path / "n.sql").write_text(
        "-- a file's comment\n\n-- name: a :one\n-- why\nselect 1;\n\n-- name: b :exec\nselect\n2;\n"
    )
    found = load("n")
    assert [(s.name, s.shape, s.sql) for s in found.values()] == [
        ("a", "one", "-- why\nselect 1"),
        ("b", "exec", "select\n2"),
    ]


class Empty:
    async def fetchrow(self, query, *args):
        return None


async def test_one_row_that_is_not_there_is_an_error_that_names_the_statement():
    with pytest.raises(LookupError, match="lonely"):
        await statements.Statement("lonely", "one", "select 1").one(Empty())
    assert await statements.Statement("lonely", "maybe", "select 1").maybe(Empty()) is None
