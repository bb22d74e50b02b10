"""`remora bench orders`: orders a second through the executor against a bare ccxt loop on the same simulator in the same run, and memory.

Enters: how many orders and accounts. Leaves: one JSON object. Both sides place IOC limit orders that fill at once, with as many in flight;
rates are between the first and the last arrival at the simulator, whose clock and ledger are nobody's here. Venue limits are off.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any, Final

import aiohttp
import msgspec
import psycopg
from pydantic import SecretStr

from engine.domain.ids import command_id
from engine.domain.messages import PlaceOrder, TradeCommand
from engine.domain.values import Venue
from engine.executor.accounts import add_credentials, load_master_key
from engine.log.writer import build_producer
from engine.topology import TRADE_COMMANDS, shard_of
from ops.bench.raw_ccxt import BARE_LOOPS
from ops.children import rss_mb
from ops.stack import Stack

SYMBOLS: Final[dict[Venue, str]] = {
    "binance": "BTC/USDT",
    "binanceusdm": "BTC/USDT:USDT",
    "bybit": "BTC/USDT",
    "bybitlinear": "BTC/USDT:USDT",
}
IN_FLIGHT: Final = 64
TURNS: Final = 3
"""Both sides in turn, so that other load on the machine meets both; the best of each counts."""
_ENCODER: Final = msgspec.json.Encoder(decimal_format="string")


class Bench:
    """One run on one stack."""

    def __init__(self, stack: Stack, venue: Venue, orders: int, accounts: int) -> None:
        self.stack, self.venue, self.orders, self.accounts = stack, venue, orders, accounts
        self.url = stack.simulator_url
        self._seqs: dict[int, int] = {}

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the simulator's administrator."""
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, json=body) as reply:
            reply.raise_for_status()
            return await reply.json()

    async def register(self) -> None:
        """Accounts at the simulator and in the vault."""
        names = [f"bench-{number}" for number in range(self.accounts)]
        for first in range(0, len(names), 1000):
            specs = [_account(name, self.venue) for name in names[first : first + 1000]]
            await self.admin("POST", "/_accounts", {"accounts": specs})
        settings = self.stack.settings
        rows = [(name, self.venue, SecretStr(f"key-{name}"), SecretStr(f"secret-{name}")) for name in names]
        with psycopg.connect(settings.database_url.get_secret_value()) as conn:
            add_credentials(conn, load_master_key(settings), rows)

    async def arrivals(self) -> dict[str, Any]:
        """How many orders the simulator got, and when the first and the last one arrived (microseconds)."""
        reply: dict[str, Any] = await self.admin("GET", "/_ledger?limit=0&accounts=0")
        return reply

    async def publish(self, run: str, count: int) -> list[PlaceOrder]:
        """Commands for `count` orders, over all accounts in turn."""
        settings = self.stack.settings
        price = (await self.admin("GET", f"/_price?venue={self.venue}"))[self.venue][SYMBOLS[self.venue]]
        orders = [_order(run, number, self.accounts, self.venue, price) for number in range(count)]
        producer: Any = build_producer(settings, "remora-bench")
        await producer.start()
        try:
            sent = []
            for order in orders:
                shard = shard_of(order.follower_id, settings.partitions)
                self._seqs[shard] = self._seqs.get(shard, 0) + 1
                value = _ENCODER.encode(TradeCommand(seq=self._seqs[shard], body=order))
                sent.append(await producer.send(settings.topic(TRADE_COMMANDS), value, order.follower_id.encode(), shard))
            await asyncio.gather(*sent)
        finally:
            await producer.stop()
        return orders

    async def through_executor(self, run: str, count: int) -> float:
        """Orders a second from commands on the log to arrivals at the simulator."""
        before = (await self.arrivals())["count"]
        await self.publish(run, count)
        return await self._rate(before, count)

    async def _rate(self, before: int, count: int) -> float:
        entries: list[dict[str, Any]] = []
        until = time.monotonic() + 300.0
        while len(entries) < count and time.monotonic() < until:
            await asyncio.sleep(0.5)
            if (await self.arrivals())["count"] >= before + count:
                entries = (await self.admin("GET", f"/_ledger?after={before}&accounts=0"))["entries"]
        times = sorted(entry["received_us"] for entry in entries)
        assert len(times) >= count, f"{len(times)} of {count} orders arrived"
        return float((len(times) - 1) / max((times[-1] - times[0]) / 1e6, 1e-9))

    async def bare(self, run: str, count: int) -> float:
        """Orders a second of ccxt in a plain loop: no log, no vault, no checks."""
        before = (await self.arrivals())["count"]
        await BARE_LOOPS[self.venue](self.url, SYMBOLS[self.venue], run, count, IN_FLIGHT, self.accounts)
        return await self._rate(before, count)


def _account(name: str, venue: Venue) -> dict[str, str]:
    return {"api_key": f"key-{name}", "secret": f"secret-{name}", "venue": venue, "usdt": "100000000"}


def _order(run: str, number: int, accounts: int, venue: Venue, price: str) -> PlaceOrder:
    follower = f"bench-{number % accounts}"
    cause = f"{run}-{number}"
    return PlaceOrder(
        command_id=command_id(cause, follower),
        follower_id=follower,
        venue=venue,
        symbol=SYMBOLS[venue],
        side="buy",
        quantity=Decimal("0.001"),
        kind="open",
        cause=cause,
        limit_price=Decimal(price) * Decimal("1.05"),
        expires_at=int(time.time() * 1000) + 600_000,
    )


async def _measure(bench: Bench, pid: int) -> dict[str, Any]:
    await bench.through_executor("warm", 500)
    await bench.bare("warm-bare", 500)
    rates, raw = list[float](), list[float]()
    for turn in range(TURNS):
        rates.append(await bench.through_executor(f"run-{turn}", bench.orders))
        raw.append(await bench.bare(f"bare-{turn}", bench.orders))
    return {
        "value": round(max(rates)),
        "unit": "orders/s",
        "raw": round(max(raw)),
        "venue": bench.venue,
        "orders": bench.orders,
        "accounts": bench.accounts,
        "ratio": round(max(rates) / max(raw), 2),
        "rss_mb": round(rss_mb(pid), 1),
    }


def bench_orders(orders: int = 6_000, accounts: int = 10_000, venue: Venue = "binance") -> dict[str, Any]:
    """Run it on a stack of its own."""
    with Stack(roles=(), fsync=False, venue_limits=False, equity_interval_s=600, orders_in_flight=IN_FLIGHT) as stack:
        bench = Bench(stack, venue, orders, accounts)
        asyncio.run(bench.register())
        stack.supervisor.start("executor")
        stack.supervisor.wait_ready("executor")
        return asyncio.run(_measure(bench, stack.supervisor.pid("executor")))
