"""A worker tells Prometheus what it does, on a port of its own."""

import aiohttp

from tests.stack import free_port, open_stack, until


async def test_a_worker_exposes_its_calls_and_slots(database_url, stores):
    port = free_port()
    async with open_stack(database_url, stores.redis_url, worker_metrics_port=port) as (_, client):
        run_id = await client.submit(models=["sim/fast", "sim/status-400"], runs=2, warmup=False)
        await client.finished(run_id)
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/metrics") as response:
            text = await response.text()
    assert 'assay_provider_requests_total{outcome="ok",provider="sim"} 2.0' in text
    assert 'assay_provider_requests_total{outcome="provider_refused",provider="sim"} 2.0' in text
    assert 'assay_provider_time_to_first_token_seconds_count{provider="sim"} 2.0' in text
    assert "assay_worker_slots 16.0" in text
    assert run_id not in text


async def test_a_worker_that_cannot_start_says_why_in_one_line(database_url, stores):
    async with open_stack(database_url, stores.redis_url, workers=0) as (stack, _):
        stack.environ["REDIS_URL"] = "nonsense://"
        process = await stack.start("worker-1")
        assert await process.wait() == 78

        async def said():
            return "REDIS_URL: must begin with redis or rediss or unix://." in stack.log("worker-1")

        await until(said, within_s=2)
        assert "Traceback" not in stack.log("worker-1")
