"""Every statement is one the migrated schema understands, and is used."""

import inspect
from pathlib import Path

import pytest

import db.events
import db.runs
import db.samples
import db.settle
import db.slices
import db.submit
from db.statements import FOLDER, load

NOUNS = sorted(path.stem for path in FOLDER.glob("*.sql"))
USERS = (db.events, db.runs, db.samples, db.settle, db.slices, db.submit)


@pytest.mark.parametrize("noun", NOUNS)
async def test_every_statement_prepares_on_the_migrated_schema(pool, noun):
    async with pool.acquire() as connection:
        for statement in load(noun).values():
            await connection.prepare(statement.sql)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_statement_is_called_by_its_name_and_shape(noun):
    source = "".join(Path(inspect.getfile(module)).read_text() for module in USERS)
    for name, statement in load(noun).items():
        assert f'SQL["{name}"].{statement.shape}(' in source
