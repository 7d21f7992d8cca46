"""What every kind of run is given to work with."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from db.domain.samples import Attempt
from db.domain.specs import Spec, Target
from db.slices import Claim
from worker.progress import Progress
from worker.providers.wire import ChatRequest
from worker.reply import Reply


class Answer(NamedTuple):
    """The last attempt's reply, and the record of every attempt."""

    reply: Reply
    attempts: list[Attempt]


Ask = Callable[[Target, ChatRequest, int, str], Awaitable[Answer]]


class Job(NamedTuple):
    """One slice in the hands of a worker; `ask` calls a provider with limits and retries."""

    claim: Claim
    spec: Spec
    done: frozenset[int]
    ask: Ask
    progress: Progress
    stopping: asyncio.Event  # set: finish what is in flight, begin nothing new
