"""`/metrics` for Prometheus: what this process knows of its requests, its streams, the log and the tables.

Lag is the log's end, asked of the broker, less what the tables say: a projector that stands still is seen to. What cannot be known now is
left out, and `remora_up` says of whom.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.ends import LogEnds
from api.live.hub import Live
from api.reading import Reading
from engine.errors import DependencyUnreachable
from engine.topology import REJECTED
from projections.reads import Row

router = APIRouter(include_in_schema=False)
BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

UNREAD: Final[Row] = {"position": 0, "lag_seconds": None, "checked_ms_ago": None}
"""A partition that no projector has ever read."""


class Metrics:
    """One for the app, at `app.state.metrics`, with a registry of its own."""

    def __init__(self, live: Live, ends: LogEnds) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("remora_http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "remora_http_request_seconds", "Time until an answer began.", labels[:2], buckets=BUCKETS, registry=self.registry
        )
        self._live, self._ends = live, ends

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """A request was answered. The label is the route's template: a path would make a label of every id."""
        route = getattr(scope.get("route"), "path", "unmatched")
        self._requests.labels(scope["method"], route, str(status)).inc()
        self._seconds.labels(scope["method"], route).observe(seconds)

    def page(self, partitions: list[Row] | None) -> bytes:
        """All metrics; `partitions` is None when Postgres does not answer."""
        now = CollectorRegistry()
        now.register(_Now([*self._dependencies(partitions is not None), *self._process(), *self._log(), *self._lag(partitions)]))
        return generate_latest(self.registry) + generate_latest(now)

    def _dependencies(self, postgres: bool) -> Iterator[Metric]:
        up = GaugeMetricFamily("remora_up", "Whether what the API reads from answers.", labels=["dependency"])
        up.add_metric(["postgres"], float(postgres))
        up.add_metric(["kafka"], float(self._ends.known))
        up.add_metric(["live"], float(self._live.tail.ready.is_set() and not self._live.tail.failed))
        yield up

    def _process(self) -> Iterator[Metric]:
        live = self._live
        yield GaugeMetricFamily("remora_live_clients", "Streams of the live feed.", len(live.clients))
        yield CounterMetricFamily("remora_live_dropped", "Streams that were too slow.", live.dropped)
        yield CounterMetricFamily("remora_events_seen", "Accepted events that this process has read.", live.events)
        yield CounterMetricFamily("remora_whale_gaps", "Breaks in whales' positions (missed signals) that it has read.", live.gaps)

    def _log(self) -> Iterator[Metric]:
        counts = self._ends.counts()
        dead = CounterMetricFamily("remora_dead_letters", "Records that nobody could read.", labels=["topic"])
        for topic, count in counts.items():
            if topic is REJECTED:
                yield CounterMetricFamily("remora_signals_rejected", "Signals that do not follow the contract.", count)
            else:
                dead.add_metric([topic.name.removesuffix(".dead")], count)
        yield dead

    def _lag(self, partitions: list[Row] | None) -> Iterator[Metric]:
        labels = ["partition"]
        records = GaugeMetricFamily("remora_projection_lag_records", "Records of accepted rounds not in the tables.", labels=labels)
        seconds = GaugeMetricFamily("remora_projection_lag_seconds", "For how long there have been such records.", labels=labels)
        checked = GaugeMetricFamily("remora_projection_checked_seconds", "Since the projector last looked.", labels=labels)
        rows = {row["partition"]: row for row in partitions or ()}
        for number in range(self._ends.partitions if partitions is not None else 0):
            label, row = [str(number)], rows.get(number) or UNREAD
            if self._ends.known:
                behind, since = self._ends.behind(number, row["position"] or 0)
                records.add_metric(label, behind)
                seconds.add_metric(label, max(since, float(row["lag_seconds"] or 0)) if behind else 0.0)
            if row["checked_ms_ago"] is not None:
                checked.add_metric(label, row["checked_ms_ago"] / 1000)
        yield from (records, seconds, checked)


class _Now:
    """A collector of what was just found."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        """What was found."""
        return self._found


class Timed:
    """The outermost layer: every request is counted, with its route, status and the time until its answer began."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.note(scope, message["status"], time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, noting)


async def get_metrics(request: Request) -> Metrics:
    """The process's metrics."""
    metrics: Metrics = request.app.state.metrics
    return metrics


@router.get("/metrics")
async def show(metrics: Annotated[Metrics, Depends(get_metrics)], reads: Reading) -> Response:
    """For Prometheus."""
    try:
        partitions: Any = await reads.partitions()
    except DependencyUnreachable:
        partitions = None
    return Response(metrics.page(partitions), media_type=CONTENT_TYPE_LATEST)
