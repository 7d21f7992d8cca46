"""Many SSE readers in one cheap process: `sse_readers PORT PATH COUNT EXPECTED DEADLINE_S`."""

import asyncio
import json
import re
import sys
import time

import uvloop

STAMP = re.compile(rb'"t":\s?([0-9.]+)')


class Reader(asyncio.Protocol):
    """Counts stamped events and keeps how late each was when its bytes arrived."""

    lags, delivered = [], 0

    def __init__(self, path, ready):
        self.path, self.ready, self.tail = path, ready, b""

    def connection_made(self, transport):
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def data_received(self, data):
        now = time.perf_counter()
        if not self.ready.done():
            self.ready.set_result(None)
        data = self.tail + data
        cut = data.rfind(b"\n\n") + 1
        self.tail = data[cut:]
        for stamp in STAMP.findall(data, 0, cut):
            Reader.lags.append(now - float(stamp))
            Reader.delivered += 1


async def main(port, path, count, expected, deadline_s):
    loop, transports = asyncio.get_running_loop(), []
    for _ in range(count):
        ready = loop.create_future()
        transports.append(
            await loop.create_connection(lambda ready=ready: Reader(path, ready), "127.0.0.1", port)
        )
        await ready
    print("connected", flush=True)
    while not Reader.delivered:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    while Reader.delivered < count * expected and time.monotonic() - began < deadline_s:
        await asyncio.sleep(0.01)
    seconds = time.monotonic() - began
    print(json.dumps({"delivered": Reader.delivered, "seconds": seconds, "lags": Reader.lags[:: max(1, len(Reader.lags) // 20_000)]}))  # fmt: skip


if __name__ == "__main__":
    port, path, *rest = sys.argv[1:]
    uvloop.run(main(int(port), path, *map(int, rest)))
