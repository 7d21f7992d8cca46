"""One call to one provider: bounded in time and size, stamped as bytes arrive."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import aiohttp

from db.domain import errors
from db.settings import Settings
from worker.egress import DENIED
from worker.providers.wire import BadResponse, ChatRequest, Refused, Wire
from worker.reply import Reply

ERROR_BODY_LIMIT: Final = 64 * 1024
RETRY_AFTER_CAP_S: Final = 120.0
RUNAWAY: Final = 4  # times max_tokens content events: the provider ignores the limit


class Endpoint(NamedTuple):
    """Where a provider is reached, with which key and in which protocol."""

    provider: str
    base_url: str
    wire: Wire
    key: str | None = None


class Caller:
    """Makes calls over one session, within the deadlines and limits of the settings."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session, self._settings = session, settings

    async def call(self, endpoint: Endpoint, request: ChatRequest, request_id: str) -> Reply:
        """Make one attempt. Whatever the provider does ends in the reply, not in an exception.

        Cancelling closes the provider's connection.
        """
        reply = Reply()
        try:
            await self._exchange(endpoint, request, request_id, reply)
        except errors.ProviderFailed as error:
            reply.error = error
        except Refused as error:
            reply.error = errors.ProviderRefused(f"{error.code} {error}".strip())
        except BadResponse as error:
            reply.error = errors.ProviderBadResponse(str(error))
        except TimeoutError:
            reply.error = errors.ProviderTimeout(_which_deadline(reply, self._settings))
        except aiohttp.ClientError as error:
            reply.error = _network_failure(error)
        except OSError as error:
            reply.error = errors.ProviderUnreachable(error.strerror or type(error).__name__)
        reply.end()
        return reply

    async def _exchange(
        self, endpoint: Endpoint, request: ChatRequest, request_id: str, reply: Reply
    ) -> None:
        first_token_s = self._settings.connect_timeout_s + self._settings.ttft_timeout_s
        async with (
            asyncio.timeout(first_token_s) as deadline,
            self._post(endpoint, request, request_id, reply) as response,
        ):
            reply.status = response.status
            if response.status != 200:
                raise await _refusal(response, endpoint.wire, reply)
            _require_plain(response)
            if request.stream:
                await self._stream(response, endpoint.wire, request.max_tokens, reply, deadline)
            else:
                await self._whole(response, endpoint.wire, reply)

    def _post(
        self, endpoint: Endpoint, request: ChatRequest, request_id: str, reply: Reply
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        http, settings = endpoint.wire.encode(request, endpoint.key), self._settings
        return self._session.post(
            endpoint.base_url.rstrip("/") + http.path,
            data=http.body,
            headers=http.headers | {"X-Client-Request-Id": request_id},
            timeout=aiohttp.ClientTimeout(
                total=settings.total_timeout_s,
                sock_connect=settings.connect_timeout_s,
                sock_read=max(settings.idle_timeout_s, settings.ttft_timeout_s),
            ),
            allow_redirects=False,
            trace_request_ctx=reply,
        )

    async def _stream(
        self,
        response: aiohttp.ClientResponse,
        wire: Wire,
        max_tokens: int,
        reply: Reply,
        deadline: asyncio.Timeout,
    ) -> None:
        decoder, clock = wire.decoder(), asyncio.get_running_loop().time
        ends = clock() + self._settings.total_timeout_s
        async for at, chunk in self._chunks(response, reply):
            known = len(reply.arrivals)
            reply.take(decoder.feed(chunk), at)
            if known < len(reply.arrivals):  # only tokens count as life, not keep-alive comments
                deadline.reschedule(min(ends, clock() + self._settings.idle_timeout_s))
            if known > RUNAWAY * max_tokens + 64:
                raise errors.ProviderAnswerTooLarge
        reply.end()
        reply.take(decoder.close(), time.perf_counter())

    async def _whole(self, response: aiohttp.ClientResponse, wire: Wire, reply: Reply) -> None:
        body = b"".join([chunk async for _, chunk in self._chunks(response, reply)])
        reply.end()
        reply.take(wire.decode(body), time.perf_counter())

    async def _chunks(
        self, response: aiohttp.ClientResponse, reply: Reply
    ) -> AsyncGenerator[tuple[float, bytes]]:
        """Read the body as it comes, each piece with its arrival, up to the size limit."""
        left = self._settings.answer_limit_bytes
        async for chunk in response.content.iter_any():
            at = time.perf_counter()
            reply.first_byte = reply.first_byte or at
            left -= len(chunk)
            if left < 0:
                raise errors.ProviderAnswerTooLarge
            yield at, chunk


def _require_plain(response: aiohttp.ClientResponse) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise BadResponse("compressed although not asked for")


async def _refusal(
    response: aiohttp.ClientResponse, wire: Wire, reply: Reply
) -> errors.ProviderFailed:
    """Word a status other than 200, in the provider's own text where it gives one."""
    status = response.status
    if 300 <= status < 400:
        return errors.ProviderRedirect()
    text = wire.explain(await response.content.read(ERROR_BODY_LIMIT))
    reply.retry_after_s = _retry_after(response.headers.get("Retry-After"))
    if status == 429:
        return errors.ProviderLimited(f"[rate_limited] {text}")
    if status in (401, 403):
        return errors.ProviderRefused(f"[auth_failed] {text}")
    return errors.ProviderRefused(f"HTTP {status}: {text}")


def _retry_after(value: str | None) -> float | None:
    """Read seconds or a date; None for none and for nonsense, at most RETRY_AFTER_CAP_S."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_CAP_S) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _network_failure(error: aiohttp.ClientError) -> errors.ProviderFailed:
    text = str(error)
    if DENIED in text:
        return errors.EgressDenied()
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError)):
        return errors.ProviderUnreachable("the provider closed the connection early")
    if isinstance(error, aiohttp.ClientConnectorError):
        return errors.ProviderUnreachable(f"cannot connect: {error.os_error.strerror}")
    return errors.ProviderBadResponse(f"{type(error).__name__}")


def _which_deadline(reply: Reply, settings: Settings) -> str:
    elapsed = time.perf_counter() - reply.began
    if elapsed >= settings.total_timeout_s - 0.05:
        return f"[timeout] not finished within {settings.total_timeout_s:g} s"
    if reply.arrivals:
        return f"[timeout] silent for {settings.idle_timeout_s:g} s in mid-answer"
    return f"[timeout] no token within {settings.ttft_timeout_s:g} s"
