"""Figures, printed and never asserted: `python3 run.py bench queue | dispatch | sse`."""

import asyncio
import importlib
import sys

import uvloop

NAMES = ("queue", "dispatch", "sse")


def main(names):
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        sys.exit(f"usage: python3 run.py bench {' | '.join(NAMES)}")
    for name in names:
        module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(module.main())


if __name__ == "__main__":
    main(sys.argv[1:])
