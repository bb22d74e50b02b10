"""What a process counts of its work, and the page that Prometheus reads.

Enters: counts, where the fact happens, and `Sample`s that are looked up when somebody asks. Leaves: `/metrics` on `REMORA_METRICS_PORT`
(0: none). A role declares all its metrics in one module of its own, on one `Meters`: docs/metrics.md is made from there.

The page is made in the process's own event loop, so what it shows is of one moment and no lock is needed; an answer that does not come
says that the loop is stuck.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engine.config import Settings
from engine.errors import DependencyUnreachable, FencedOut, LogCorrupt
from engine.fate import CUT_SHORT

log = logging.getLogger(__name__)
Kind = Literal["counter", "gauge", "histogram"]
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTS: Final = (1, 2, 5, 10, 50, 200, 1000, 5000, 20_000, 100_000)
BIND_AGAIN_S: Final = 5.0
CAUSES: Final = {
    "0": "stopped",
    "-15": "stopped",
    "-9": "killed",
    str(CUT_SHORT): "stop_cut_short",
    str(FencedOut.exit_code): "fenced_out",
    str(LogCorrupt.exit_code): "log_corrupt",
    str(DependencyUnreachable.exit_code): "dependency_unreachable",
}
"""How a life ended, by exit code; every other one is `failed`."""


@dataclass(frozen=True)
class Meter:
    """One metric as it is declared. `name` is what Prometheus stores: a counter's ends in `_total`."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()


Sample = tuple[Meter, Sequence[str], float]
"""A metric, its label values, and what it is now."""


class Meters:
    """The metrics of one role."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.declared: list[Meter] = []
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._looks: list[Callable[[], Iterable[Sample]]] = []
        self._restarts = self.seen(
            "counter", "remora_restarts_total", "Former lives of this process by how they ended.", "exit_code", "cause"
        )

    def counter(self, name: str, help: str, *labels: str) -> Counter:
        """A count that is kept where the fact happens; `name` ends in `_total`."""
        self.declared.append(Meter("counter", name, help, labels))
        return Counter(name, help, labels, registry=self._registry)

    def histogram(self, name: str, help: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Histogram:
        """A distribution."""
        self.declared.append(Meter("histogram", name, help, labels))
        return Histogram(name, help, labels, buckets=buckets, registry=self._registry)

    def seen(self, kind: Literal["counter", "gauge"], name: str, help: str, *labels: str) -> Meter:
        """A metric that is looked up when somebody asks: give its samples to `watch`."""
        self.declared.append(meter := Meter(kind, name, help, labels))
        return meter

    def gauge(self, name: str, help: str, *labels: str) -> Meter:
        """A state that is looked up when somebody asks."""
        return self.seen("gauge", name, help, *labels)

    @asynccontextmanager
    async def watch(self, look: Callable[[], Iterable[Sample]]) -> AsyncIterator[None]:
        """Ask `look` for samples whenever the page is made, for the time of the block."""
        self._looks.append(look)
        try:
            yield
        finally:
            self._looks.remove(look)

    def page(self, samples: Iterable[Sample] = ()) -> bytes:
        """All metrics now. What is not known is left out."""
        now = CollectorRegistry()
        found = [*samples, *(sample for look in self._looks for sample in look())]
        now.register(_Now([family for family in self._families(found) if family.samples]))
        return generate_latest(self._registry) + generate_latest(now)

    def _families(self, samples: Iterable[Sample]) -> list[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for meter, labels, value in samples:
            assert meter in self.declared, meter.name
            family = families.get(meter.name)
            if family is None:
                make = GaugeMetricFamily if meter.kind == "gauge" else CounterMetricFamily
                family = families[meter.name] = make(meter.name.removesuffix("_total"), meter.help, labels=meter.labels)
            family.add_metric(labels, value)
        return list(families.values())

    @asynccontextmanager
    async def serve(self, settings: Settings, look: Callable[[], Iterable[Sample]] = tuple) -> AsyncIterator[None]:
        """`/metrics` for the time of the block, if the settings name a port."""
        if not settings.metrics_port:
            yield
            return
        async with self.watch(look), self.watch(lambda: self.former_lives(settings)):
            listening = asyncio.create_task(self._listen(settings), name="metrics")
            try:
                yield
            finally:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening

    def former_lives(self, settings: Settings) -> Iterator[Sample]:
        """How the lives before this one ended, as the supervisor told."""
        for code, lives in Tally(settings.exits.split(",") if settings.exits else ()).items():
            yield self._restarts, (code, CAUSES.get(code, "failed")), lives

    async def _listen(self, settings: Settings) -> None:
        """A port that is taken is tried again: a role works without being watched rather than not at all."""
        from aiohttp import web  # not before: it costs every start a moment

        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=self.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/metrics", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            while True:
                try:
                    await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
                    await asyncio.Event().wait()
                except OSError as error:
                    log.error("no /metrics on %s:%s yet: %s", settings.metrics_host, settings.metrics_port, error.strerror)
                    await asyncio.sleep(BIND_AGAIN_S)
        finally:
            await runner.cleanup()


class _Now:
    """A collector of what was just found."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        """What was found."""
        return self._found


def age_s(since_ms: float | None) -> float:
    """Seconds since a time in ms, 0 without one."""
    return max(time.time() - since_ms / 1000, 0.0) if since_ms else 0.0
