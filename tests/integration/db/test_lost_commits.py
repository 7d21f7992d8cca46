"""A server that lost commits, as after a fail-over to a replica that lagged."""

import pytest

from db.domain.errors import LeaseLost
from db.samples import list_keys


async def test_what_the_server_lost_is_measured_again_and_not_counted_as_done(world):
    run_id = await world.submit(runs=3)
    claim = await world.claim(run_id)
    await world.record(claim, 1, keys=[0])
    before = await world.slice(run_id)
    await world.record(claim, 2, keys=[1])
    await world.pool.execute("delete from samples where run_id = $1 and key = 1", run_id)
    await world.pool.execute(
        "update slices set last_batch = $2 where run_id = $1", run_id, before["last_batch"]
    )
    with pytest.raises(LeaseLost):
        await world.record(claim, 3, keys=[2])
    assert await list_keys(world.pool, run_id) == {0}
