"""What a benchmark would consist of, worked out without the service."""

from collections import Counter
from typing import Any

import msgspec

from api.cli import exits, show
from api.cli.exits import Ended
from api.cli.talk import put, put_json, put_text
from api.sheets import BenchmarkSheet
from db.domain.errors import Invalid
from db.domain.plan import Plan, make_plan
from db.domain.specs import BenchmarkSpec


def describe(sheet: dict[str, Any], *, as_json: bool) -> None:
    """Show models x tiers x runs; raises Ended when the request is not valid."""
    spec = read(sheet)
    plan = make_plan(spec)
    cells = count(spec, plan)
    if as_json:
        put_json({"samples": len(plan.samples), "warmups": warmups(spec, plan), "cells": cells})
        return
    made = show.table("model", "context tokens", "runs", "skipped because")
    for cell in cells:
        made.add_row(*(str(value) for value in cell.values()))
    put(made)
    put_text(
        f"{len(spec.targets)} models x {len(spec.context_tiers)} tiers x {spec.runs} runs = "
        f"{len(plan.samples)} samples, and {warmups(spec, plan)} warm-up calls"
    )


def read(sheet: dict[str, Any]) -> BenchmarkSpec:
    fields = {name: value for name, value in sheet.items() if name != "kind"}
    try:
        return msgspec.convert(fields, BenchmarkSheet).spec()
    except (msgspec.ValidationError, Invalid) as error:
        raise Ended(str(error), exits.INVALID) from None


def count(spec: BenchmarkSpec, plan: Plan) -> list[dict[str, Any]]:
    """List each model at each tier with its number of samples, or why it has none."""
    made = Counter((sample.tier, sample.target) for sample in plan.samples)
    reasons = {(skipped.tier, skipped.target): skipped.reason for skipped in plan.skipped}
    return [
        {
            "model": target.model_id,
            "context_tokens": tier,
            "runs": made[tier, place],
            "skipped": reasons.get((tier, place), ""),
        }
        for tier in spec.context_tiers
        for place, target in enumerate(spec.targets)
    ]


def warmups(spec: BenchmarkSpec, plan: Plan) -> int:
    return len({(sample.tier, sample.target) for sample in plan.samples}) if spec.warmup else 0
