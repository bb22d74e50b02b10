"""The exchange simulator, one aiohttp process on loopback: requests enter, replies of Binance spot, USD-M and Bybit v5 leave.

Over plain HTTP the path names the venue; over TLS (own test CA) the venues' real host names work too, see `tls.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.web import BaseRequest

from engine.config import Settings
from engine.exchanges.simulator import faults as fault_plans
from engine.exchanges.simulator.accounts import Registry
from engine.exchanges.simulator.admin import Admin
from engine.exchanges.simulator.clock import Clock
from engine.exchanges.simulator.dispatch import Dispatcher, exchange_of
from engine.exchanges.simulator.faults import FaultPlan
from engine.exchanges.simulator.keep import Keeper
from engine.exchanges.simulator.ledger import Ledger
from engine.exchanges.simulator.limits import Limits
from engine.exchanges.simulator.live import follow_live
from engine.exchanges.simulator.markets import REFERENCE, build_markets
from engine.exchanges.simulator.matching import Engine
from engine.exchanges.simulator.mischief import Mischief
from engine.exchanges.simulator.prices import BookShape, PricePath
from engine.exchanges.simulator.tls import make_certificates
from engine.exchanges.simulator.wire import GONE, Call, Reply
from engine.exchanges.simulator.world import World
from engine.lifecycle import announce_ready

LIVE_S: Final = 1.0
"""How often live prices are read."""
_MAX_BODY = 64 * 1024 * 1024


@dataclass
class Options:
    """How a simulator behaves. `faults` is `parse_faults` text or its JSON form; `walk_s` moves undriven prices (0: never)."""

    seed: int = 1
    limits: str = "off"
    faults: str | dict[str, Any] | None = None
    ledger_file: Path | None = None
    walk_s: float = 0.0
    walk_bps: float = 3.0
    bybit_async_ms: float = 1.0
    ban_s: float = 120.0
    shape: BookShape = field(default_factory=BookShape)


class Simulator:
    """Start it, point clients at `url` (or, with TLS, resolve the venues' hosts to `tls_port` and trust `ca_file`), stop it."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        if self.options.limits not in ("real", "off"):
            raise ValueError(f"limits: got {self.options.limits!r}, expected real or off")
        clock, markets = Clock(), build_markets()
        prices = PricePath(REFERENCE, self.options.seed, self.options.shape)
        ledger = Ledger(self.options.ledger_file)
        engine = Engine(markets, prices, ledger, clock)
        self.world = World(markets, prices, engine, ledger, Registry(), clock, self.options.bybit_async_ms)
        self.faults = FaultPlan()
        given = self.options.faults
        fault_plans.configure(self.faults, fault_plans.parse_faults(given) if isinstance(given, str) else given or {})
        self.dispatcher = Dispatcher(self.world, Limits(clock, self.options.ban_s) if self.options.limits == "real" else None)
        self._mischief = Mischief(self.dispatcher, self.faults)
        self._admin = Admin(self.world, self.dispatcher, self.faults)
        self._runner: web.ServerRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._keeper: Keeper | None = None
        self.url, self.tls_url, self.port, self.tls_port = "", "", 0, 0
        self.ca_file: Path | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls_folder: Path | None = None, tls_port: int = 0) -> None:
        """Listen on loopback (port 0: any free one); with `tls_folder` also a TLS listener whose CA is written there as `ca.pem`."""
        self._runner = web.ServerRunner(web.Server(self._handle, request_factory=_request, access_log=None), shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=2048).start()
        if tls_folder is not None:
            context, self.ca_file = make_certificates(tls_folder)
            await web.TCPSite(self._runner, host, tls_port, ssl_context=context, backlog=2048).start()
        ports = [address[1] for address in self._runner.addresses]
        self.port = ports[0]
        self.url = f"http://{host}:{self.port}"
        if tls_folder is not None:
            self.tls_port = ports[1]
            self.tls_url = f"https://{host}:{self.tls_port}"
        if self.options.walk_s:
            self._tasks.append(asyncio.create_task(self._walk()))

    async def stop(self) -> None:
        """Close all connections and the ledger file."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        await self._mischief.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._keeper is not None:
            self._keeper.save()
        self.world.ledger.close()

    def follow(self, settings: Settings, interval_s: float = LIVE_S) -> None:
        """Take markets and prices from the venues' public side from now on."""
        self._tasks.append(asyncio.create_task(follow_live(settings, self.world, interval_s)))

    async def keep(self, file: Path) -> None:
        """Have the accounts of a file and write them there from now on; done when every position has its market. Call it before `start`:
        an account without its positions must not be seen."""
        self._keeper = Keeper(self.world, file)
        self._keeper.restore()
        await self._keeper.attached()
        self._tasks.append(asyncio.create_task(self._keeper.run()))

    async def _walk(self) -> None:
        while True:
            await asyncio.sleep(self.options.walk_s)
            self.world.engine.moved(self.world.prices.walk(self.options.walk_bps))

    async def _handle(self, request: BaseRequest) -> web.StreamResponse:
        received_us = self.world.clock.now_us()
        path, _, query = request.raw_path.partition("?")
        body = await request.read() if request.body_exists else b""
        if path.startswith("/_"):
            return _response(self._admin.handle(request.method, path, query, body))
        exchange = exchange_of(path, request.headers.get("Host", ""))
        if exchange is None:
            return web.Response(status=404, text="Not Found")
        call = Call(exchange, request.method, path, query, body, request.headers, request.remote or "", received_us)
        reply = await self._serve(request, call)
        return _Gone() if reply is GONE else _response(reply)

    async def _serve(self, request: BaseRequest, call: Call) -> Reply:
        route = self.dispatcher.route(call)
        if route is None:
            return self.dispatcher.unknown(call)
        refused = self.dispatcher.open(call, route)
        if refused is not None:
            return refused
        fault = self.faults.pick(call, route.kind) if self.faults.active else None
        if fault is not None:
            return await self._mischief.serve(request, call, route, fault)
        return self.dispatcher.run(call, route)


class _Gone(web.Response):
    """Stands for a reply that will not be sent: the connection is closed already."""

    async def prepare(self, request: BaseRequest) -> Any:
        """Nothing to send."""
        return None

    async def write_eof(self, data: Any = b"") -> None:
        """Nothing to send."""


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> BaseRequest:
    return BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=_MAX_BODY)


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": reply.content_type} | reply.headers
    return web.Response(body=reply.encoded(), status=reply.status, headers=headers)


async def run(
    settings: Settings,
    *,
    limits: str = "off",
    faults: str | None = None,
    live_prices: bool = False,
    accounts_file: Path | None = None,
    options: Options | None = None,
) -> None:
    """The CLI's role: serve on `settings.simulator_host:simulator_port` until cancelled, with a price walk (or live public prices, see
    `live.py`), with accounts that are kept in a file and, with `faults`, mischief."""
    simulator = Simulator(options or Options(limits=limits, faults=faults, walk_s=0.0 if live_prices else 1.0))
    if live_prices:
        simulator.follow(settings)
    if accounts_file is not None:
        await simulator.keep(accounts_file)
    tls = settings.simulator_tls_dir
    await simulator.start(settings.simulator_host, settings.simulator_port, tls, settings.simulator_tls_port)
    announce_ready(settings, "simulator", url=simulator.url, port=simulator.port, tls_port=simulator.tls_port)
    try:
        await asyncio.Event().wait()
    finally:
        await simulator.stop()
