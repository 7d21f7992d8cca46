"""Tables with the facts of the machine above them."""

import os
import platform
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from db.domain.statistics import percentile
from db.embedded.stores import open_stores
from db.migrate import migrate
from db.pool import open_pool

CONSOLE = Console(width=120)


def print_facts(title):
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.processor(),
    )  # fmt: skip
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    CONSOLE.print(
        f"\n[bold]{title}[/]\n{os.cpu_count()} cores, {cpu}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"load before {load:.2f}; clients, stores and service share the machine"
    )


def print_table(columns, rows):
    table = Table(*columns, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    CONSOLE.print(table)


def spread(values, unit=1e3, digits=1):
    """Give p50 / p99 / max as text, seconds in milliseconds by default."""
    ordered = sorted(value * unit for value in values)
    places = (percentile(ordered, 0.5), percentile(ordered, 0.99), ordered[-1])
    return " / ".join(f"{place:.{digits}f}" for place in places)


@asynccontextmanager
async def fresh_stores():
    """Open durable embedded stores on a temporary folder, migrated."""
    data = Path(tempfile.mkdtemp(prefix="assay-bench-", dir="/tmp"))
    async with open_stores(data) as stores:
        pool = await open_pool(stores.database_url, 4)
        await migrate(pool)
        yield stores, pool
        await pool.close()
    shutil.rmtree(data, ignore_errors=True)
