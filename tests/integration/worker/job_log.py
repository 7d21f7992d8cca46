"""What a worker under test executed, and whether its queue is empty."""

import asyncio
import time


class Log:
    """What was executed, and for how long each holds its slot."""

    def __init__(self, hold_s=0.0):
        self.began, self.hold_s, self.running, self.peak = [], hold_s, 0, 0
        self.times = {}

    async def __call__(self, slice_id):
        self.began.append(slice_id)
        self.times[slice_id] = time.perf_counter()
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(self.hold_s)
        finally:
            self.running -= 1


async def is_idle(redis):
    keys = await redis.keys("arq:*")
    return not keys
