"""Metrics: a label is a route's template, never what a client wrote."""

import pytest

from api.telemetry import REGISTRY, count_requests


def series(name):
    """Give the label sets of a metric, with their values."""
    [metric] = [metric for metric in REGISTRY.collect() if metric.name == name]
    kept = [one for one in metric.samples if one.name.endswith(("_total", "_count"))]
    return {tuple(sorted(one.labels.items())): one.value for one in kept}


async def answer(path, template=None, status=200, media=b"application/json"):
    async def app(scope, receive, send):
        if template is not None:
            scope["path_template"] = template
        headers = [(b"content-type", media)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def send(_):
        """Take it."""

    await count_requests(app)({"type": "http", "path": path, "method": "GET"}, None, send)


def labels(route, status_class):
    return tuple(sorted({"method": "GET", "route": route, "status_class": status_class}.items()))


async def test_many_paths_of_one_route_make_one_series():
    for number in range(50):
        await answer(f"/things/{number}", "/things/{id}")
    counts = series("assay_http_requests")
    assert counts[labels("/things/{id}", "2xx")] == 50
    assert not [key for key in counts if "/things/7" in str(key)]


@pytest.mark.parametrize("template", [None, ""])
async def test_paths_without_a_route_share_one_series(template):
    before = series("assay_http_requests").get(labels("unknown", "4xx"), 0)
    for number in range(20):
        await answer(f'/x"}} 1\nfake {number}', template, status=404)
    counts = series("assay_http_requests")
    assert counts[labels("unknown", "4xx")] == before + 20
    assert "fake" not in str(counts)


async def test_a_stream_is_counted_but_its_lifetime_is_no_latency():
    await answer("/s", "/streams", media=b"text/event-stream; charset=utf-8")
    assert series("assay_http_requests")[labels("/streams", "2xx")] == 1
    assert "/streams" not in str(series("assay_http_request_duration_seconds"))
    await answer("/s", "/answers")
    assert "/answers" in str(series("assay_http_request_duration_seconds"))
