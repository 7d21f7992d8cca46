"""Asking a provider: limits before each attempt, retries after it, a record of every one."""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from db.domain.catalog import PROVIDERS
from db.domain.samples import Attempt
from db.domain.specs import Target
from db.settings import Settings
from db.slices import Claim
from worker.call import Caller, Endpoint
from worker.gate import Gate
from worker.providers.table import WIRES
from worker.providers.wire import ChatRequest
from worker.reply import Reply
from worker.retry import delay_s, deserves_retry
from worker.runs.job import Answer, Ask
from worker.runs.measure import describe
from worker.telemetry import observe

SIM_PATHS: Final[Mapping[str, str]] = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}


class Asker:
    """One per worker process: its caller, its gate and its patience."""

    def __init__(self, caller: Caller, gate: Gate, settings: Settings) -> None:
        self._caller, self._gate, self._settings = caller, gate, settings
        self._random = random.Random()  # noqa: S311 - jitter, not secrets

    def for_claim(self, claim: Claim) -> Ask:
        """Bind what names a call: run, sample, epoch and attempt are in its request id."""

        async def ask(target: Target, request: ChatRequest, key: int, name: str) -> Answer:
            label = f"{claim.run_id}/{name}/{claim.epoch}"
            return await self._ask(target, request, key, label)

        return ask

    async def _ask(self, target: Target, request: ChatRequest, key: int, label: str) -> Answer:
        endpoint = self._endpoint(target)
        attempts: list[Attempt] = []
        pause = 0.0
        while True:
            number = len(attempts) + 1
            async with self._gate.enter(target.provider) as waited:
                reply = await self._caller.call(endpoint, request, f"{label}.{number}")
            observe(target.provider, reply, pause + waited)
            attempts.append(_record(key, number, reply, pause + waited))
            if number > self._settings.retries or not deserves_retry(reply):
                return Answer(reply, attempts)
            pause = delay_s(number, reply, self._random)
            await self._rest(target.provider, pause, reply)

    async def _rest(self, provider: str, pause: float, reply: Reply) -> None:
        """Wait; when the provider names a time, every worker waits."""
        if reply.retry_after_s:
            await self._gate.pause_everywhere(provider, reply.retry_after_s)
        await asyncio.sleep(pause)

    def _endpoint(self, target: Target) -> Endpoint:
        base = PROVIDERS[target.provider].base_url
        base = base or self._settings.sim_url.rstrip("/") + SIM_PATHS[target.wire]
        return Endpoint(target.provider, base, WIRES[target.wire])


def _record(key: int, number: int, reply: Reply, waited_s: float) -> Attempt:
    first = reply.arrivals[0] if reply.arrivals else None
    return Attempt(
        key=key,
        attempt=number,
        status=reply.status,
        error_code=reply.error.code if reply.error else None,
        error=describe(reply.error) if reply.error else None,
        waited_ms=waited_s * 1e3,
        ttft_ms=None if first is None else (first - reply.sent) * 1e3,
        total_ms=(reply.stamps.end - reply.sent) * 1e3,
        response_id=reply.response_id,
    )
