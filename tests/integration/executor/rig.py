"""What the executor's tests stand on: a simulator, topics, a vault and commands; all of it real, the executor itself in this process."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn

import aiohttp
import msgspec
import psycopg
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from engine.config import Settings
from engine.domain.ids import command_id
from engine.domain.messages import CancelOrder, Execution, MarketReport, OrderSettled, PlaceOrder, SetSwitch, TradeCommand
from engine.exchanges.simulator.server import Options, Simulator
from engine.exchanges.wire import now_ms
from engine.executor.accounts import add_credential, ensure_vault, load_master_key
from engine.executor.service import Executor
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.topics import ensure_topics
from engine.topology import CONTROL, EXECUTIONS, MARKET_REPORTS, TRADE_COMMANDS, shard_of
from tests.support import wait_until

MASTER_KEY = "11" * 32
SYMBOL = {"binance": "BTC/USDT", "bybit": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT", "bybitlinear": "BTC/USDT:USDT"}
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_EXECUTION = msgspec.json.Decoder(Execution)


class Ended(Exception):
    """Stands for the end of the process in tests that run the executor in this one."""


@dataclass
class Rig:
    """One test's world. Every order gets a fresh id and the next sequence of its shard."""

    settings: Settings
    simulator: Simulator
    producer: AIOKafkaProducer
    seqs: dict[int, int] = field(default_factory=dict)
    numbers: int = 0
    executors: list[Executor] = field(default_factory=list)

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """One administrator request to the simulator."""
        async with aiohttp.ClientSession() as session, session.request(method, self.simulator.url + path, json=body) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def account(self, follower: str, venue: str, **flags: Any) -> None:
        """Register an account at the simulator and its keys in the vault."""
        key, secret = f"key-{follower}-{venue}", f"canary-secret-{follower}-{venue}"
        await self.admin("POST", "/_accounts", {"api_key": key, "secret": secret, "venue": venue, "usdt": "100000"} | flags)
        with psycopg.connect(self.settings.database_url.get_secret_value()) as conn:
            add_credential(conn, load_master_key(self.settings), follower, venue, SecretStr(key), SecretStr(secret))  # type: ignore[arg-type]

    async def price(self, venue: str = "binance") -> Decimal:
        """The mid of the test market."""
        prices = await self.admin("GET", f"/_price?venue={venue}")
        return Decimal(prices[venue][SYMBOL[venue]])

    def order(self, follower: str, venue: str, price: Decimal, **fields: Any) -> PlaceOrder:
        """A buy of 0.01 at up to 1 % above `price`; fields override."""
        self.numbers += 1
        values: dict[str, Any] = {
            "command_id": command_id(f"test-{self.numbers}", follower),
            "follower_id": follower,
            "venue": venue,
            "symbol": SYMBOL[venue],
            "side": "buy",
            "quantity": Decimal("0.01"),
            "kind": "open",
            "cause": f"test-{self.numbers}",
            "limit_price": price * Decimal("1.01"),
            "expires_at": now_ms() + 60_000,
        }
        return PlaceOrder(**(values | fields))

    def exit(self, follower: str, venue: str, **fields: Any) -> PlaceOrder:
        """A market sell of 0.01."""
        return self.order(
            follower, venue, Decimal(1), **({"side": "sell", "kind": "exit", "limit_price": None, "expires_at": None} | fields)
        )

    async def send(self, *orders: PlaceOrder | CancelOrder) -> None:
        """Publish commands, each with the next sequence of its shard."""
        futures = []
        for order in orders:
            shard = shard_of(order.follower_id, self.settings.partitions)
            self.seqs[shard] = self.seqs.get(shard, 0) + 1
            value = _ENCODER.encode(TradeCommand(seq=self.seqs[shard], body=order))
            futures.append(await self.producer.send(self.settings.topic(TRADE_COMMANDS), value, order.follower_id.encode(), shard))
        await asyncio.gather(*futures)

    async def switch(self, state: str, scope: str = "global", target: str = "") -> None:
        """Set a switch."""
        record = SetSwitch(request_id=uuid.uuid4().hex, scope=scope, target=target, state=state)  # type: ignore[arg-type]
        await self.producer.send_and_wait(self.settings.topic(CONTROL), _ENCODER.encode(record), partition=0)

    async def executions(self) -> list[tuple[int, int, Execution]]:
        """Everything on the executions topic as (partition, offset, record)."""
        found: list[tuple[int, int, Execution]] = []
        topic = self.settings.topic(EXECUTIONS)
        async with open_consumer(self.settings) as consumer:
            for partition in range(self.settings.partitions):
                first, end = await bounds(consumer, topic, partition)
                async for records in read_range(consumer, topic, partition, first, end):
                    found += [(partition, record.offset, _EXECUTION.decode(record.value or b"")) for record in records]
        return found

    async def settled(self) -> dict[str, OrderSettled]:
        """End states by command id; two of one command fail the test."""
        ends: dict[str, OrderSettled] = {}
        for _, _, record in await self.executions():
            if isinstance(record, OrderSettled):
                assert record.command_id not in ends, f"two end states: {ends[record.command_id]} and {record}"
                ends[record.command_id] = record
        return ends

    async def wait_settled(self, *orders: PlaceOrder, deadline_s: float = 30.0) -> list[OrderSettled]:
        """The end states of these orders, in their order."""
        found: dict[str, OrderSettled] = {}

        async def all_there() -> bool:
            found.update(await self.settled())
            return all(order.command_id in found for order in orders)

        try:
            await wait_until(all_there, deadline_s)
        except AssertionError:
            missing = [order for order in orders if order.command_id not in found]
            raise AssertionError(f"no end state after {deadline_s} s: {missing}") from None
        return [found[order.command_id] for order in orders]

    async def ledger(self) -> dict[str, dict[str, Any]]:
        """The simulator's truth by client order id."""
        entries = (await self.admin("GET", "/_ledger"))["entries"]
        return {entry["client_order_id"]: entry for entry in entries}

    @contextlib.asynccontextmanager
    async def running(
        self, prepare: Callable[[Executor], None] = lambda executor: None, owns: int = 0, **overrides: Any
    ) -> AsyncIterator[Executor]:
        """An executor at work, with all shards or `owns` of them; leaving the block stops it. Its death ends the block and is raised."""
        body = asyncio.current_task()
        assert body is not None
        deaths: list[BaseException] = []

        def die(error: BaseException) -> NoReturn:
            deaths.append(error)
            if len(deaths) == 1:
                task.cancel()
                body.cancel()
            raise Ended(f"{type(error).__name__}: {error}") from error

        executor = Executor(self.settings.model_copy(update=overrides), die)
        prepare(executor)
        self.executors.append(executor)
        task = asyncio.create_task(executor.run())
        try:
            await wait_until(lambda: task.done() or len(executor.shards.owned) == (owns or self.settings.partitions), 30.0, "shards taken")
            yield executor
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Ended):
                await task
            if executor.stopping is not None:
                await asyncio.wait((executor.stopping,))
            if deaths:
                body.uncancel()
                raise deaths[0]


async def read_reports(settings: Settings) -> list[MarketReport]:
    """Everything on the topic of market reports."""
    found: list[MarketReport] = []
    async with open_consumer(settings) as consumer:
        topic = settings.topic(MARKET_REPORTS)
        first, end = await bounds(consumer, topic, 0)
        async for records in read_range(consumer, topic, 0, first, end):
            found += [msgspec.json.decode(record.value or b"", type=MarketReport) for record in records]
    return found


@contextlib.asynccontextmanager
async def open_rig(settings: Settings, options: Options | None = None, tls_folder: Any = None) -> AsyncIterator[Rig]:
    """Topics, vault and simulator for one test."""
    simulator = Simulator(options or Options())
    await simulator.start(tls_folder=tls_folder)
    await ensure_topics(settings)
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        ensure_vault(conn)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    address = {"exchange_url": simulator.tls_url, "exchange_ca_file": simulator.ca_file} if tls_folder else {"exchange_url": simulator.url}
    try:
        yield Rig(settings.model_copy(update=address), simulator, producer)
    finally:
        await producer.stop()
        await simulator.stop()
