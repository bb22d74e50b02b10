"""How a Faust app of ours is built and run: at least once, fail-stop, positions from the log.

    app = build_app(settings, "sequencer", positions)      # inside the running loop
    consume(app, settings, (SIGNALS, CONTROL), handle)     # async handle(tp, message), in order per partition
    await run_worker(app, settings, "sequencer")                  # until SIGTERM, SIGINT, or an error (which ends the process)

`positions(tps) -> {tp: next offset}` is awaited at every assignment, also for partitions that were kept: everything that
Faust had buffered is gone by then. With `one_by_one` it is called once for each partition, all at the same time, and each is
read as soon as its own answer is there. It may take as long as it needs; a rebalance cancels it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, cast

import faust
import uvloop
from faust.tables.manager import TableManager
from faust.types import TP
from faust.types.tuples import Message

from engine.agents.transport import LogConsumer, LogTransport, Notice, Placement, Positions
from engine.config import Settings
from engine.fate import die, end_within, is_cancelled, own_cancellations
from engine.lifecycle import announce_ready
from engine.log.reach import asking, clearly
from engine.topology import Topic

log = logging.getLogger(__name__)
Handler = Callable[[TP, Message], Awaitable[None]]
STOP_S = 8.0
"""A clean stop that takes longer (the broker is away) is cut off: the log needs no goodbye."""


class PromptTables(TableManager):
    """Faust waits a second at the start for tables to register themselves; we have none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class LogApp(faust.App):
    """A Faust app whose consumer is placed by the log."""

    placement: Placement

    def _create_directories(self) -> None:
        """There are no tables, so there is nothing to keep on disk."""

    def _new_transport(self) -> LogTransport:
        return LogTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> LogTransport:
        return LogTransport(self.conf.broker_producer, self)

    def _new_consumer(self) -> Any:
        consumer = cast(LogConsumer, super()._new_consumer())
        consumer.placement = self.placement
        return consumer


def build_app(
    settings: Settings,
    role: str,
    positions: Positions,
    *,
    one_by_one: bool = False,
    assigned: Notice | None = None,
    revoked: Notice | None = None,
) -> LogApp:
    """The app of a role. Group `settings.group(role)`, static member `role-instance`; no web server, no topic of Faust's own.

    `revoked(tps)` is awaited before the partitions can go to another member: finish what is in flight. `assigned(tps)` tells the
    whole new assignment, before `positions` is asked.
    """
    app = LogApp(
        settings.group(role),
        broker=[f"kafka://{server}" for server in settings.kafka.split(",")],
        datadir=str(settings.data_dir / "faust" / f"{role}-{settings.instance}"),
        store="memory://",
        processing_guarantee="at_least_once",
        key_serializer="raw",
        value_serializer="raw",
        TableManager=PromptTables,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=4096,
        stream_recovery_delay=0.0,
        producer_acks=-1,
        broker_client_id=f"remora-{role}-{settings.instance}",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 5,
        broker_rebalance_timeout=max(30.0, settings.session_timeout_s),
        broker_request_timeout=max(30.0, settings.session_timeout_s + 1),
        broker_max_poll_interval=3600.0,
        broker_max_poll_records=1000,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{role}-{settings.instance}",
        worker_redirect_stdouts=False,
    )
    app.placement = Placement(positions, one_by_one, assigned, revoked)
    return app


def consume(app: LogApp, settings: Settings, topics: Iterable[Topic], handle: Handler) -> None:
    """Hand every record of `topics` to `handle`, in order per partition; an exception in it ends the process."""
    names = [settings.topic(topic) for topic in topics]
    channel = app.topic(*names, key_serializer="raw", value_serializer="raw", internal=False)

    @app.agent(channel, name=f"{app.conf.id}.{names[0]}", concurrency=1)
    async def read(stream: Any) -> None:
        try:
            async for event in stream.events():
                message = event.message
                if message.generation_id == app.consumer_generation_id:
                    await handle(message.tp, message)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and (app.should_stop or is_cancelled()):
                raise
            # Faust would ack the event and go on, or (a cancellation that nobody asked for) read no more.
            die(error)


async def or_die(work: Callable[[], Awaitable[None]]) -> None:
    """A task that the process cannot do without: its error, or its end by a cancellation that nobody asked for, ends the process."""
    try:
        with own_cancellations():
            await work()
    except Exception as error:
        die(error)


async def run_worker(app: LogApp, settings: Settings, role: str, **facts: str | int) -> None:
    """Run the app in this loop until SIGTERM or SIGINT; if it crashes, end the process. Raises `DependencyUnreachable`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.in_worker = True
    app.finalize()
    with asking(settings):
        await app.start()
    announce_ready(settings, role, **facts)
    waits = {asyncio.ensure_future(wait) for wait in (stop.wait(), app._crashed.wait())}
    _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()
    if app._crashed.is_set():
        die(clearly(settings, app.crash_reason or RuntimeError("the Faust app crashed")))
    end_within(STOP_S)
    await app.stop()


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` in a uvloop; the consumer thread's loop is one too."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    # Our values are mostly acyclic structs: the default of 700 allocations has the collector walk for nothing.
    gc.set_threshold(50_000, 20, 50)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with asyncio.Runner() as runner:
        runner.run(_main(main))


async def _main(main: Coroutine[Any, Any, None]) -> None:
    try:
        await main
    except Exception as error:
        die(error)
