"""The programs that a supervisor runs: started in order, kept alive, stopped in reverse."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from db.embedded.child import Check, Child, Command
from db.embedded.children import Children
from db.embedded.keeper import Keeper


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run; those of a lower `order` are ready before the next ones start."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready: Check | None = None  # None: ready as soon as it runs
    count: int = 1
    stop_grace_s: float = 20
    order: int = 0
    once: bool = False  # must end with 0 before the next order starts, as a migration does
    ready_within_s: float = 60
    start_attempts: int | None = None  # None: for ever
    cwd: str | None = None

    def commands(self) -> list[Command]:
        names = [f"{self.name}-{n}" for n in range(1, self.count + 1)]
        return [
            Command(
                name=name,
                argv=self.argv,
                env=self.env,
                cwd=self.cwd,
                grace_s=self.stop_grace_s,
            )
            for name in (names if self.count > 1 else [self.name])
        ]


class Running:
    """One instance of a program, as a keeper's service."""

    def __init__(self, program: Program, command: Command, children: Children) -> None:
        self._program = program
        self._command = command
        self._children = children

    @property
    def name(self) -> str:
        return self._command.name

    async def start(self) -> Child:
        child = await self._children.spawn(self._command)
        if self._program.ready is not None:
            await child.become_ready(self._program.ready, self._program.ready_within_s)
        return child

    async def stop(self, child: Child) -> None:
        await child.stop()

    async def complete(self) -> None:
        """Run it to its end; raises StartFailed unless it ends well."""
        child = await self._children.spawn(self._command)
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await child.stop()
            raise
        if code != 0:
            raise child.failure(f"it ended with {code}")


class Line:
    """All programs of one supervisor."""

    def __init__(self, children: Children, log: Callable[[str], None]) -> None:
        self._children: Final = children
        self._log: Final = log
        self._ranks: list[list[Keeper]] = []

    async def start(self, programs: Sequence[Program]) -> None:
        by_order = sorted(programs, key=_order)
        for _, rank in itertools.groupby(by_order, key=_order):
            await self._start_rank(list(rank))

    async def stop(self) -> None:
        while self._ranks:
            async with asyncio.TaskGroup() as group:
                for keeper in self._ranks.pop():
                    group.create_task(keeper.stop())

    async def _start_rank(self, rank: list[Program]) -> None:
        keepers: list[Keeper] = []
        self._ranks.append(keepers)
        for program in rank:
            for command in program.commands():
                running = Running(program, command, self._children)
                if program.once:
                    await running.complete()
                    continue
                keepers.append(Keeper(running, self._log, attempts=program.start_attempts))
                keepers[-1].begin()
        for keeper in keepers:
            await keeper.up()


def _order(program: Program) -> int:
    return program.order
