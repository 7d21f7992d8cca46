"""What is served where: three wires, the ledger, health."""

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from worker.simulator import faults, script, words_anthropic, words_gemini, words_openai
from worker.simulator.asked import (
    Asked,
    WireName,
    digest,
    read_anthropic,
    read_gemini,
    read_openai,
)
from worker.simulator.behaviour import LISTED, Behaviour, parse
from worker.simulator.ledger import Ledger, Record
from worker.simulator.reply import JSON, STREAM_HEAD, Reply, head, plain
from worker.simulator.words import ENCODE, Speaker, Words

SPEAKERS: Final[Mapping[WireName, Speaker]] = {
    "openai": words_openai.OpenAIWords,
    "anthropic": words_anthropic.AnthropicWords,
    "gemini": words_gemini.GeminiWords,
}
ERRORS: Final[Mapping[WireName, Callable[[int, str], bytes]]] = {
    "openai": words_openai.error,
    "anthropic": words_anthropic.error,
    "gemini": words_gemini.error,
}
VERBS: Final = {"generateContent": False, "streamGenerateContent": True}
DRIP_GAP: Final = 1.0


class Request(NamedTuple):
    method: bytes
    url: bytes
    client_request_id: str
    body: bytes
    received: float


class Stats(msgspec.Struct):
    open_connections: int = 0
    connections: int = 0
    requests: int = 0
    concurrent: int = 0
    max_concurrent: int = 0

    def began(self) -> None:
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)

    def ended(self) -> None:
        self.concurrent -= 1


class Site:
    """Answers requests; holds all that outlives one."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.stats = Stats()
        self._behaviours: dict[str, Behaviour | None] = {}
        self._window = faults.Window()
        self._garbage = 0

    def answer(self, request: Request) -> Reply:
        path = request.url.partition(b"?")[0].decode("latin-1")
        path = path.removeprefix("/v1beta").removeprefix("/v1")
        if request.method == b"POST":
            return self._posted(request, path)
        return self._asked_for(request, path)

    def _posted(self, request: Request, path: str) -> Reply:
        self.stats.requests += 1
        wire: WireName = "openai"
        try:
            if path == "/chat/completions":
                asked = read_openai(request.body)
            elif path == "/messages":
                wire = "anthropic"
                asked = read_anthropic(request.body)
            else:
                wire = "gemini"
                model, _, verb = unquote(path).removeprefix("/models/").rpartition(":")
                if verb not in VERBS or not path.startswith("/models/"):
                    return plain(words_openai.error(404, f"no such path: {path}"), 404)
                asked = read_gemini(request.body, model, stream=VERBS[verb])
        except (ValueError, RecursionError) as bad:
            return plain(ERRORS[wire](400, f"bad request: {bad}"), 400)
        return self._played(request, asked)

    def _asked_for(self, request: Request, path: str) -> Reply:
        match request.method, path:
            case b"GET", "/healthz":
                return plain(b'{"status":"ok"}')
            case b"GET", "/models":
                return plain(_models())
            case b"GET", "/stats":
                return plain(ENCODE(self.stats))
            case b"GET", "/ledger":
                return self._read_ledger(request.url)
            case b"DELETE", "/ledger":
                self.ledger.clear()
                return plain(b"[]")
            case _:
                return plain(words_openai.error(404, f"no such path: {path}"), 404)

    def _read_ledger(self, url: bytes) -> Reply:
        given = parse_qs(urlsplit(url.decode("latin-1")).query)
        since, limit = given.get("since", ["0"])[0], given.get("limit", ["200000"])[0]
        if not (since.isdecimal() and limit.isdecimal()):
            return plain(words_openai.error(400, "since and limit are numbers"), 400)
        prefix = given.get("client_request_id", [""])[0]
        return plain(self.ledger.encode(int(since), prefix, int(limit)))

    def _behaviour(self, model: str) -> Behaviour | None:
        if model not in self._behaviours:
            if len(self._behaviours) > 10_000:
                self._behaviours.clear()
            self._behaviours[model] = parse(model)
        return self._behaviours[model]

    def _played(self, request: Request, asked: Asked) -> Reply:
        behaviour = self._behaviour(asked.model)
        told = "true" if behaviour is None else behaviour.usage
        words = SPEAKERS[asked.wire](asked, self.stats.requests, told)
        record = _record(request, asked, words, self.stats.requests)
        self.ledger.add(record)
        if behaviour is None:
            record.status = 404
            body = ERRORS[asked.wire](404, f"the model `{asked.model}` does not exist")
            return plain(body, 404)._replace(record=record)
        identity = request.client_request_id or str(record.n)
        failed = self._failed(behaviour, asked.wire, record, identity)
        if failed is not None:
            return failed._replace(record=record)
        if behaviour.flaky and faults.flaked(behaviour, identity) == 0:
            behaviour = msgspec.structs.replace(behaviour, fault="rst")
        return _spoken(asked, behaviour, words, record)

    def _failed(
        self, behaviour: Behaviour, wire: WireName, record: Record, identity: str
    ) -> Reply | None:
        """Return the answer of a model that refuses this time; None when it does not."""
        if behaviour.fault == "garbage":
            self._garbage += 1
            return faults.garbage(self._garbage - 1)
        if behaviour.fault == "redirect":
            record.status = 302
            return faults.redirect()
        status = behaviour.status
        if behaviour.flaky:
            status = faults.flaked(behaviour, identity) or status
        if behaviour.fault == "rate-limited" and self._window.full(perf_counter()):
            status = 429
        if status == 200:
            return None
        record.status = status
        return faults.status_reply(behaviour, ERRORS[wire], status)


def _record(request: Request, asked: Asked, words: Words, n: int) -> Record:
    return Record(
        id=words.response_id,
        n=n,
        wire=asked.wire,
        model=asked.model,
        client_request_id=request.client_request_id,
        received=request.received,
        prompt_chars=sum([len(text) for _, text in asked.messages]),
        prompt_sha256=digest(asked.prompt),
    )


def _spoken(asked: Asked, behaviour: Behaviour, words: Words, record: Record) -> Reply:
    """Return the answer of a model that answers, whole or in a stream."""
    how = script.ending(behaviour)
    if asked.stream:
        steps = script.streamed(asked, behaviour, words, record.n)
        return Reply(
            STREAM_HEAD, _slowed(steps, behaviour), chunked=True, ending=how, record=record
        )
    if behaviour.fault == "never-ends":
        return Reply(STREAM_HEAD, script.blanks(behaviour), chunked=True, record=record)
    if behaviour.fault == "error-mid":
        body, tokens = ERRORS[asked.wire](500, "simulated failure"), 0
    else:
        body, tokens = script.whole(asked, behaviour, words)
    due = behaviour.ttft + behaviour.itl * max(tokens - 1, 0)
    sent = body if how == "complete" else body[: len(body) // 2]
    events = iter([script.Step(due, sent, 1, tokens)])
    begun = head(200, JSON, len(body))
    return Reply(begun, _slowed(events, behaviour), ending=how, record=record)


def _slowed(steps: Iterator[script.Step], behaviour: Behaviour) -> Iterator[script.Step]:
    if behaviour.fault == "drip":
        return script.byte_by_byte(steps, DRIP_GAP)
    return script.byte_by_byte(steps, 0.0) if behaviour.split else steps


def _models() -> bytes:
    entries = [
        {"id": f"sim/{name}", "object": "model", "type": "model", "created": 0, "owned_by": "sim"}
        | {"display_name": name}
        for name in LISTED
    ]
    google = [{"name": f"models/sim/{name}", "displayName": name} for name in LISTED]
    return ENCODE({"object": "list", "data": entries, "models": google, "has_more": False})
