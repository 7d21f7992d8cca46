"""The verb `config`: every setting, its value, and where that comes from."""

from collections.abc import Mapping

import rich_click as click

from api.cli import exits, show
from api.cli.context import Context
from api.cli.talk import put, put_json, say
from db.settings import Settings, SettingsInvalid, load, redacted, variable


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def config(context: Context, *, as_json: bool) -> int:
    """List every setting, its value and where that comes from."""
    valid, faults = sift(context.environ)
    rows = describe(valid)
    if as_json:
        put_json(rows)
    else:
        made = show.table("variable", "value", "from", left=3)
        for row in rows:
            made.add_row(*row.values())
        put(made)
    for fault in faults:
        say(f"assay: {fault}")
    return exits.SETTINGS if faults else exits.OK


def sift(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Part the environment into what can be used and what is wrong with the rest."""
    valid: dict[str, str] = {}
    faults: list[str] = []
    for name, value in environ.items():
        try:
            load({name: value})
        except SettingsInvalid as error:
            faults.append(str(error))
        else:
            valid[name] = value
    return valid, faults


def describe(environ: Mapping[str, str]) -> list[dict[str, str]]:
    values = redacted(load(environ))
    return [
        {"variable": variable(field), "value": values[field], "from": origin(environ, field)}
        for field in Settings.__struct_fields__
    ]


def origin(environ: Mapping[str, str], field: str) -> str:
    name = variable(field)
    if name in environ:
        return "environment"
    return "file" if f"{name}_FILE" in environ else "default"


def best_settings(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Read what can be read; returns the faults beside it."""
    valid, faults = sift(environ)
    return load(valid), faults
