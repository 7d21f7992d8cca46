"""The verb `doctor`: is this machine fit, are the settings right, does the service answer."""

import asyncio

import rich_click as click
from rich.text import Text

from api.cli import exits
from api.cli.checks import Finding, examine
from api.cli.config import best_settings
from api.cli.context import Context
from api.cli.talk import put, put_json

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(context: Context, *, as_json: bool) -> int:
    """Check this machine, the settings and the service; exit 1 on a fault."""
    settings, faults = best_settings(context.environ)
    url = context.server or settings.url
    findings = asyncio.run(examine(context.environ, settings, faults, url.rstrip("/")))
    if as_json:
        put_json(findings)
    else:
        put(*map(word, findings))
    failed = any(finding.state == "fail" for finding in findings)
    return exits.FAILURE if failed else exits.OK


def word(finding: Finding) -> Text:
    hint = f"\n{'':<22}{finding.hint}" if finding.hint else ""
    return Text.assemble(
        (f"{finding.state:<5}", STYLES[finding.state]), f" {finding.what:<16}{finding.said}{hint}"
    )
