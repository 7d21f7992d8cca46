"""An answer as a script: what is written when, and how it ends."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, cycle, islice
from typing import Final, Literal, NamedTuple

from worker.simulator.asked import Asked
from worker.simulator.behaviour import Behaviour
from worker.simulator.words import Counts, Whole, Words

Ending = Literal["complete", "cut", "rst", "open"]
PIECES: Final = re.compile(r"\s*\S+|\s+$")
TOKENS: Final = tuple(
    re.findall(
        r" \w+",
        " the quick brown fox jumps over a lazy dog while every good clock keeps true time and"
        " no token leaves before it is due or after the measure has been taken",
    )
)
BIG_TOKEN: Final = " big" * 16 * 1024
BIG_COUNT: Final = 1024
HALF_OPEN_TOKENS: Final = 3


class Step(NamedTuple):
    """One write: due this many seconds after the request came, carrying so many tokens."""

    due: float
    data: bytes
    events: int = 0
    tokens: int = 0


class Plan(NamedTuple):
    """The tokens of one answer; thoughts come first."""

    thoughts: int
    texts: Iterable[str]
    total: int
    reason: str


class Frame(NamedTuple):
    data: bytes
    tokens: int


def plan(asked: Asked, behaviour: Behaviour) -> Plan:
    limit = 2**31 if asked.limit is None else max(asked.limit, 1)
    if behaviour.fault == "never-ends":
        return Plan(min(behaviour.reasoning, 10_000), cycle(TOKENS), 0, "stop")
    if behaviour.fault == "big":
        return Plan(0, (BIG_TOKEN for _ in range(BIG_COUNT)), BIG_COUNT, "stop")
    told = PIECES.findall(asked.last_user_text) or [" "] if behaviour.echo else None
    tokens = behaviour.tokens if told is None else len(told)
    thoughts = min(behaviour.reasoning, limit)
    count = min(tokens, limit - thoughts)
    reason = "stop" if thoughts + count == behaviour.reasoning + tokens else "length"
    texts = islice(cycle(TOKENS) if told is None else told, count)
    return Plan(thoughts, texts, thoughts + count, reason)


def streamed(asked: Asked, behaviour: Behaviour, words: Words, n: int) -> Iterator[Step]:
    """Yield the steps of a streamed answer."""
    frames, close = _scenes(asked, behaviour, words)
    if behaviour.immediate:
        yield _at_once(words.opening(), list(frames), close)
        return
    yield Step(0.0, words.opening())
    due = behaviour.ttft
    for step in _paced(frames, behaviour, n):
        due = step.due
        yield step
    yield Step(due, close())


def _scenes(
    asked: Asked, behaviour: Behaviour, words: Words
) -> tuple[Iterable[Frame], Callable[[], bytes]]:
    """Return the token events of a stream and what words its end, once they are out."""
    if asked.tool is not None and behaviour.tool:
        frames: Iterable[Frame] = [Frame(data, 1) for data in words.tool(asked.tool)]
        thoughts, count, reason = 0, len(frames), "tool_calls"
    else:
        thoughts, texts, count, reason = plan(asked, behaviour)
        frames = _frames(words, thoughts, texts, behaviour.chunk)
    kept = _kept(behaviour, count)
    if kept is None:
        return frames, partial(words.closing, reason, Counts(asked.given, count, thoughts))
    message = "simulated failure" if behaviour.fault == "error-mid" else ""
    return islice(frames, kept), lambda: words.failure(message) if message else b""


def whole(asked: Asked, behaviour: Behaviour, words: Words) -> tuple[bytes, int]:
    """Return the body of an answer that is not streamed, and its tokens."""
    if asked.tool is not None and behaviour.tool:
        counts = Counts(asked.given, 1, 0)
        return words.whole(Whole("", "", asked.tool, "tool_calls", counts)), 1
    thoughts, texts, count, reason = plan(asked, behaviour)
    thinking = "".join(islice(cycle(TOKENS), thoughts))
    answer = Whole("".join(texts), thinking, None, reason, Counts(asked.given, count, thoughts))
    return words.whole(answer), count


def byte_by_byte(steps: Iterable[Step], gap: float) -> Iterator[Step]:
    """Cut every step into its bytes, `gap` seconds apart; the last byte carries the tokens."""
    base = 0.0
    for due, data, events, tokens in steps:
        base = max(base, due)
        for at in range(len(data) - 1):
            yield Step(base, data[at : at + 1])
            base += gap
        yield Step(base, data[-1:], events, tokens)
        base += gap


def ending(behaviour: Behaviour) -> Ending:
    match behaviour.fault:
        case "cut":
            return "cut"
        case "rst":
            return "rst"
        case "half-open":
            return "open"
        case _:
            return "complete"


def _kept(behaviour: Behaviour, count: int) -> int | None:
    """Return how many events an answer that is not to be whole still gets."""
    if behaviour.fault == "half-open":
        return min(HALF_OPEN_TOKENS, count)
    if behaviour.fault in {"cut", "rst", "error-mid"}:
        return max(1, count // behaviour.chunk // 2)
    return None


def _frames(words: Words, thoughts: int, texts: Iterable[str], size: int) -> Iterator[Frame]:
    thinking = ((True, token) for token in islice(cycle(TOKENS), thoughts))
    pieces = chain(thinking, ((False, text) for text in texts))
    if size == 1:
        for thought, token in pieces:
            yield Frame(words.reasoning(token) if thought else words.text(token), 1)
        return
    group: list[str] = []
    kind = False
    for thought, token in pieces:
        if group and (len(group) == size or thought != kind):
            yield _frame(words, kind, group)
            group = []
        kind = thought
        group.append(token)
    if group:
        yield _frame(words, kind, group)


def _frame(words: Words, thought: bool, group: list[str]) -> Frame:  # noqa: FBT001 -- a pair's first half
    text = "".join(group)
    return Frame(words.reasoning(text) if thought else words.text(text), len(group))


def _paced(frames: Iterable[Frame], behaviour: Behaviour, n: int) -> Iterator[Step]:
    """Yield each frame at its absolute due time, so that no delay adds to the next.

    Jitter may make a step due before the one it follows: it is written right after.
    """
    chance = random.Random(n)  # noqa: S311 -- jitter is to be reproducible, not secret
    before = 0
    for data, tokens in frames:
        due = behaviour.ttft + behaviour.itl * before
        if behaviour.jitter:
            due += chance.uniform(-behaviour.jitter, behaviour.jitter)
        yield Step(due, data, 1, tokens)
        before += tokens


def _at_once(opening: bytes, frames: list[Frame], close: Callable[[], bytes]) -> Step:
    data = b"".join([opening, *[frame.data for frame in frames], close()])
    return Step(0.0, data, len(frames), sum([frame.tokens for frame in frames]))


def blanks(behaviour: Behaviour) -> Iterator[Step]:
    """Yield JSON's white space for ever: a whole answer that never comes."""
    due = behaviour.ttft
    while True:
        yield Step(due, b" ")
        due += max(behaviour.itl, 0.001)
