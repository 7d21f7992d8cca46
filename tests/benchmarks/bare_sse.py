"""The least an ASGI server can do for many readers: `bare_sse PORT RATE SECONDS`."""

import asyncio
import json
import sys
import time

import uvicorn

PORT, RATE, SECONDS = (int(argument) for argument in sys.argv[1:])
QUEUES = set()
BEGIN = asyncio.Event()
HEADERS = [(b"content-type", b"text/event-stream")]


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/begin":
        BEGIN.task = asyncio.create_task(publish())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    queue = asyncio.Queue()
    QUEUES.add(queue)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
    while True:
        chunk = await queue.get()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def publish():
    loop = asyncio.get_running_loop()
    start = loop.time()
    for n in range(RATE * SECONDS):
        await asyncio.sleep(max(0, start + n / RATE - loop.time()))
        data = json.dumps({"t": time.perf_counter(), "pad": "x" * 200})
        chunk = f"event: tick\ndata: {data}\nid: {n + 1}\n\n".encode()
        for queue in QUEUES:
            queue.put_nowait(chunk)


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, log_level="error", loop="uvloop", http="httptools", backlog=4096)
