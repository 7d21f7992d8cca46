"""Every outgoing connection: one session factory, one guard at the address really connected to."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiohttp
from yarl import URL

from db.settings import Settings

AddrInfo = tuple[Any, Any, int, str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DENIED: Final = "EGRESS_DENIED"
# is_global is not enough: these are global, yet lead inside (cloud metadata, NAT64, DS-Lite)
TREACHEROUS: Final = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "192.0.0.8")))
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# all that IANA ever gave out for the public; outside it are ::127.0.0.1, fec0::/10, 64:ff9b:1::/48
PUBLIC6: Final = ipaddress.IPv6Network("2000::/3")


class EgressRefused(OSError):
    """The guard refuses this address."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(errno.EACCES, f"{DENIED} {host}:{port}")


def is_allowed(host: str, port: int, allowed: frozenset[tuple[str, int]]) -> bool:
    """Say whether an address may be called: public, or named by an administrator."""
    address = _unwrap(ipaddress.ip_address(host.partition("%")[0]))
    if (str(address), port) in allowed:
        return True
    if isinstance(address, ipaddress.IPv6Address) and address not in PUBLIC6:
        return False
    return address.is_global and not address.is_multicast and address not in TREACHEROUS


def guard(allowed: frozenset[tuple[str, int]]) -> Callable[[AddrInfo], socket.socket]:
    """Make the connector's socket factory; it sees literals and resolved names alike."""

    def open_socket(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(address[0], address[1], allowed):
            raise EgressRefused(address[0], address[1])
        return socket.socket(family, kind, protocol)

    return open_socket


def allow_list(settings: Settings) -> frozenset[tuple[str, int]]:
    """Collect the (address, port) pairs that may be called though not public."""
    urls = [settings.sim_url, *(f"http://{pair}" for pair in settings.egress_allow)]
    return frozenset(pair for url in urls for pair in _literals(URL(url)))


def open_session(settings: Settings) -> aiohttp.ClientSession:
    """Open the one session of a worker process; callers set deadlines per call."""
    connector = aiohttp.TCPConnector(
        limit=0,  # concurrency is decided before a call, never by waiting inside one
        socket_factory=guard(allow_list(settings)),
        ttl_dns_cache=60,
        keepalive_timeout=75,
    )
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        trust_env=False,
        read_bufsize=1 << 20,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "assay"},
        trace_configs=[_stamp_sending()],
    )


def _stamp_sending() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def stamp(_session: object, context: Any, _params: object) -> None:
        context.trace_request_ctx.stamp_sent()

    trace.on_request_headers_sent.append(stamp)
    return trace


def _literals(url: URL) -> Iterable[tuple[str, int]]:
    host, port = url.host or "", url.port or 0
    names = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    return ((name, port) for name in names)


def _unwrap(address: Address) -> Address:
    """Look through the forms in which IPv6 carries an IPv4 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    return inner or address
