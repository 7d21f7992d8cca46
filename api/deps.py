"""What handlers ask for by name: the floor they stand on, and who is calling."""

from typing import Any, NamedTuple

from litestar import Request
from litestar.datastructures import State
from litestar.di import Provide

from api.auth import Caller, find_caller, require_caller
from api.relay import Hub
from db.pool import Pool
from db.queue import Doorbell, Redis
from db.settings import Settings


class Floor(NamedTuple):
    """Everything a handler may reach; made once per process."""

    settings: Settings
    pool: Pool
    redis: Redis
    bell: Doorbell
    hub: Hub


def provide_floor(state: State) -> Floor:
    return state.floor


def provide_caller(request: Request[Any, Any, Any], state: State) -> Caller:
    return require_caller(request, state.floor.settings)


def provide_maybe_caller(request: Request[Any, Any, Any], state: State) -> Caller | None:
    return find_caller(request, state.floor.settings)


DEPENDENCIES = {
    "floor": Provide(provide_floor, sync_to_thread=False),
    "caller": Provide(provide_caller, sync_to_thread=False),
    "maybe_caller": Provide(provide_maybe_caller, sync_to_thread=False),
}
