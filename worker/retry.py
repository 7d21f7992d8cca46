"""Trying again: which failures deserve it, and after how long."""

import random
from typing import Final

from db.domain import errors
from worker.reply import Reply

RETRIED_STATUSES: Final = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
RETRIED_ERRORS: Final = (errors.ProviderUnreachable, errors.ProviderBadResponse)
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0


def deserves_retry(reply: Reply) -> bool:
    """Say whether the same call may succeed later. A stream that began to answer may, too:

    each attempt is its own record, so nothing is hidden by repeating it.
    """
    if reply.error is None:
        return False
    if reply.status is not None and reply.status != 200:
        return reply.status in RETRIED_STATUSES
    return isinstance(reply.error, RETRIED_ERRORS)


def delay_s(attempt: int, reply: Reply, random_source: random.Random) -> float:
    """Give the pause after failed attempt number `attempt` (from 1): full jitter
    (Brooker 2015), never below what the provider asks for.
    """
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (attempt - 1))
    jittered = random_source.uniform(0, ceiling)
    if reply.retry_after_s is None:
        return jittered
    return reply.retry_after_s + jittered
