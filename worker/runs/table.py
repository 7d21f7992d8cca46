"""The kinds of runs and who performs them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from worker.runs import benchmark
from worker.runs.job import Job

JOBS: Final[Mapping[str, Callable[[Job], Awaitable[None]]]] = {"benchmark": benchmark.perform}
