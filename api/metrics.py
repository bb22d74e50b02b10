"""`/metrics` for Prometheus: what this process knows of its requests, its streams, the log and the tables.

Lag is the log's end, asked of the broker, less what the tables say: a projector that stands still is seen to. What cannot be known now is
left out, and `remora_up` says of whom.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.ends import LogEnds
from api.live.hub import Live
from api.reading import Reading
from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.meters import Meters, Sample
from engine.topology import REJECTED
from projections.reads import Row

router = APIRouter(include_in_schema=False)
BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

UNREAD: Final[Row] = {"position": 0, "lag_seconds": None, "checked_ms_ago": None}
"""A partition that no projector has ever read."""


class ApiMeters(Meters):
    """What an API process shows."""

    def __init__(self) -> None:
        super().__init__("api")
        request = ("method", "route")
        self.requests = self.counter("remora_http_requests_total", "Requests answered.", *request, "status")
        self.seconds = self.histogram("remora_http_request_seconds", "Time until an answer began.", *request, buckets=BUCKETS)
        self.up = self.gauge("remora_up", "Whether what the API reads from answers.", "dependency")
        self.clients = self.gauge("remora_live_clients", "Streams of the live feed.")
        self.dropped = self.seen("counter", "remora_live_dropped_total", "Streams that were too slow.")
        self.events = self.seen("counter", "remora_events_seen_total", "Accepted events that this process has read.")
        self.gaps = self.seen("counter", "remora_whale_gaps_total", "Breaks in whales' positions (missed signals) that it has read.")
        self.rejected = self.seen("counter", "remora_signals_rejected_total", "Signals that do not follow the contract.")
        self.dead = self.seen("counter", "remora_dead_letters_total", "Records that nobody could read.", "topic")
        self.lag_records = self.gauge("remora_projection_lag_records", "Records of accepted rounds not in the tables.", "partition")
        self.lag_seconds = self.gauge("remora_projection_lag_seconds", "For how long there have been such records.", "partition")
        self.checked = self.gauge("remora_projection_checked_seconds", "Since the projector last looked.", "partition")


class Metrics:
    """One for the app, at `app.state.metrics`, with counts of its own."""

    def __init__(self, settings: Settings, live: Live, ends: LogEnds) -> None:
        self.meters = ApiMeters()
        self._settings, self._live, self._ends = settings, live, ends

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """A request was answered. The labels are the route's template and a known method: what a client makes up would be without end."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.meters.requests.labels(method, route, str(status)).inc()
        self.meters.seconds.labels(method, route).observe(seconds)

    def page(self, partitions: list[Row] | None) -> bytes:
        """All metrics; `partitions` is None when Postgres does not answer."""
        return self.meters.page([*self._process(partitions is not None), *self._log(), *self._lag(partitions)])

    def _process(self, postgres: bool) -> Iterator[Sample]:
        live, meters = self._live, self.meters
        yield meters.up, ["postgres"], float(postgres)
        yield meters.up, ["kafka"], float(self._ends.known)
        yield meters.up, ["live"], float(live.tail.ready.is_set() and not live.tail.failed)
        yield meters.clients, (), len(live.clients)
        yield meters.dropped, (), live.dropped
        yield meters.events, (), live.events
        yield meters.gaps, (), live.gaps
        yield from meters.former_lives(self._settings)

    def _log(self) -> Iterator[Sample]:
        for topic, count in self._ends.counts().items():
            if topic is REJECTED:
                yield self.meters.rejected, (), count
            else:
                yield self.meters.dead, [topic.name.removesuffix(".dead")], count

    def _lag(self, partitions: list[Row] | None) -> Iterator[Sample]:
        rows = {row["partition"]: row for row in partitions or ()}
        for number in range(self._ends.partitions if partitions is not None else 0):
            label, row = [str(number)], rows.get(number) or UNREAD
            if self._ends.known:
                behind, since = self._ends.behind(number, row["position"] or 0)
                yield self.meters.lag_records, label, behind
                yield self.meters.lag_seconds, label, max(since, float(row["lag_seconds"] or 0)) if behind else 0.0
            if row["checked_ms_ago"] is not None:
                yield self.meters.checked, label, row["checked_ms_ago"] / 1000


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
