"""The benchmark kind: models x context tiers x runs, as studio documents it."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from db.domain.events import Event, make_event
from db.domain.plan import PlannedSample, SkippedTier, lanes, make_plan
from db.domain.samples import Sample
from db.domain.specs import BenchmarkSpec, Target
from worker import filler
from worker.providers.wire import ChatRequest, Message
from worker.runs.job import Job
from worker.runs.measure import measure_sample

DEFAULT_PROMPT = "Explain recursion in programming with a simple example."


class Bench(NamedTuple):
    """A benchmark under way; `finished` counts its samples, earlier holders' included."""

    job: Job
    spec: BenchmarkSpec
    total: int
    finished: Iterator[int]


async def perform(job: Job) -> None:
    """Run every planned sample that is not stored yet: providers in parallel, each in order."""
    plan = make_plan(job.spec)
    if not job.claim.opened:
        job.progress.tell(*(_skipped(job.spec, tier) for tier in plan.skipped))
    todo = tuple(sample for sample in plan.samples if sample.key not in job.done)
    if any(sample.tier for sample in todo):
        await asyncio.to_thread(filler.tokenizer)
    bench = Bench(job, job.spec, len(plan.samples), _count_from(len(job.done) + 1))
    async with asyncio.TaskGroup() as group:
        for lane in lanes(job.spec, todo):
            group.create_task(_run_lane(bench, lane))


async def _run_lane(bench: Bench, lane: tuple[PlannedSample, ...]) -> None:
    for (tier, target), cell in groupby(lane, key=lambda sample: (sample.tier, sample.target)):
        if bench.job.stopping.is_set():
            return
        if bench.spec.warmup:
            request = await _request(bench.spec, bench.spec.targets[target], tier)
            await bench.job.ask(bench.spec.targets[target], request, -1, f"warmup-{tier}-{target}")
        await _run_cell(bench, iter(tuple(cell)))


async def _run_cell(bench: Bench, samples: Iterator[PlannedSample]) -> None:
    """Keep `concurrency` calls in flight until the cell's samples are used up."""

    async def stream() -> None:
        for sample in samples:
            if bench.job.stopping.is_set():
                return
            await _run_sample(bench, sample)

    async with asyncio.TaskGroup() as group:
        for _ in range(bench.spec.concurrency):
            group.create_task(stream())


async def _run_sample(bench: Bench, planned: PlannedSample) -> None:
    target = bench.spec.targets[planned.target]
    request = await _request(bench.spec, target, planned.tier)
    answer = await bench.job.ask(target, request, planned.key, str(planned.key))
    if answer.reply.usage:
        sample = measure_sample(planned, target, answer)
    else:  # counts tokens itself, which would hold up the clocks of calls in flight
        sample = await asyncio.to_thread(measure_sample, planned, target, answer)
    events = _events(bench, planned, target, sample)
    bench.job.progress.add(sample, answer.attempts, *events)


async def _request(spec: BenchmarkSpec, target: Target, tier: int) -> ChatRequest:
    question = Message("user", spec.prompt or DEFAULT_PROMPT)
    context = await asyncio.to_thread(filler.fill, tier, random.Random()) if tier else ""  # noqa: S311
    skipped = target.skip_params
    return ChatRequest(
        model=target.model,
        messages=(Message("system", context), question) if context else (question,),
        max_tokens=spec.max_tokens,
        temperature=None if "temperature" in skipped else spec.temperature,
        params={name: value for name, value in spec.params.items() if name not in skipped},
    )


def _count_from(first: int) -> Iterator[int]:
    return iter(range(first, 1 << 62))


def _skipped(spec: BenchmarkSpec, skipped: SkippedTier) -> Event:
    target = spec.targets[skipped.target]
    return make_event(
        "skipped",
        provider=target.provider_name,
        model=target.display_name,
        model_id=target.model_id,
        context_tokens=skipped.tier,
        reason=skipped.reason,
    )


def _events(
    bench: Bench, planned: PlannedSample, target: Target, sample: Sample
) -> Iterable[Event]:
    """Word one sample as studio does: its progress, then its result."""
    place = {
        "provider": target.provider_name,
        "model": target.display_name,
        "run": planned.run,
        "runs": bench.spec.runs,
        "context_tokens": planned.tier,
    }
    yield make_event("progress", current=next(bench.finished), total=bench.total, **place)
    yield make_event(
        "result",
        **place,
        model_id=target.model_id,
        ttft_ms=_round(sample.ttft_ms, 2),
        total_time_s=_round((sample.total_ms or 0) / 1e3, 3),
        output_tokens=sample.output_tokens or 0,
        input_tokens=sample.input_tokens or 0,
        tokens_per_second=_round(sample.tps, 2),
        input_tokens_per_second=_round(sample.input_tps, 2),
        output_speed_tps=_round(sample.output_tps, 2),
        tpot_ms=_round(sample.tpot_ms, 3),
        cost=_round(sample.cost_usd, 8),
        success=sample.ok,
        error=sample.error,
        attempts=sample.attempts,
    )


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
