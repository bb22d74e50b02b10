"""A log with a long history, for benches of replay and recovery: real decisions of real followers, each order filled, each lot closed.

The whale trades once a minute; each account's equity is reported after each of its orders and every 20 s, as the executor does it.
Run as a program: JSON with the broker, the topic prefix, partitions, followers and events a shard, and where to put a snapshot. The events
are decided in memory and written as rounds, as the engine would have; the inbox gets as many ticks as the rounds have consumed.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import uvloop

from engine.config import Settings
from engine.domain.events import RoundCommitted
from engine.domain.messages import InboxRecord, OrderSettled, PlaceOrder, SignalReceived, Tick
from engine.domain.shard import commands_of, decide, dump_state, fold_marker, new_state
from engine.domain.state import DAY_MS, ShardState
from engine.log.codec import encode, encode_event
from engine.log.reader import Position, behind, chain
from engine.log.snapshots import write_snapshot
from engine.log.topics import ensure_topics
from engine.log.writer import Keyed, ShardWriter, build_producer
from engine.topology import INBOX
from ops.bench.population import COINS, EPOCH, PRICES, WHALE, Inbox, equity

OPENS = 16
"""Signals before the whale closes everything."""
REPORTS = 3
REPORT_MS = 20_000
"""Between two signals each account's equity is reported this often, this far apart."""
AGO_MS = 30 * DAY_MS
"""How long ago the history begins: it must end before now, or whatever follows is too late for it."""


class History:
    """One shard's past."""

    def __init__(self, settings: Settings, shard: int, producer: Any, shadow: bool) -> None:
        self.settings, self.shard, self.producer, self._shadow = settings, shard, producer, shadow
        self.writer = ShardWriter(producer, settings, shard)
        self.state: ShardState = new_state(shard, settings.partitions)
        self.position = Position()
        self.inbox = Inbox(settings.partitions)
        self.now = int(time.time() * 1000) - AGO_MS
        self._consumed = 0
        self.kinds: Counter[str] = Counter()
        """Events by type."""

    async def write(self, followers: int, events: int, snapshot_at: int) -> None:
        """Write at least `events` events; a snapshot goes behind the first round that reaches `snapshot_at`."""
        await self.writer.claim("history")
        left = snapshot_at
        for told in self._story(followers):
            await self._round(told)
            if left and self.position.next_id > left:
                await write_snapshot(self.producer, self.settings, self.shard, 0, self.position, dump_state(self.state))
                left = 0
            if self.position.next_id > events:
                break
        assert self.now < time.time() * 1000, "the history ends in the past"
        await self._fill_inbox()

    def _story(self, followers: int) -> Iterator[list[Keyed]]:
        everybody = self.inbox.followers(followers * self.settings.partitions, self.now, "shadow" if self._shadow else "paper")
        mine = [record for shard, record in everybody if shard == self.shard]
        yield [keyed for record in mine for keyed in self._decide(record)]
        number = 0
        while True:
            for turn in range(OPENS):
                [record] = self.inbox.signals(1, self.now, number + turn, flat_at=number)
                yield self._with_fills(record)
                yield from self._reports()
            number += OPENS
            for coin in COINS:
                yield self._with_fills(self._close(coin, number))
                yield from self._reports()

    def _reports(self) -> Iterator[list[Keyed]]:
        """What the executor tells of every account until the next signal."""
        for _ in range(REPORTS):
            self.now += REPORT_MS
            told = [self.inbox.record(equity(name, self.now), "x", self.shard) for name in self.state.followers]
            yield [keyed for record in told for keyed in self._decide(record)]

    def _close(self, coin: str, number: int) -> InboxRecord:
        [template] = list(Inbox(1).signals(1, self.now, number))
        assert isinstance(template.body, SignalReceived)
        held = Decimal(60_000) / PRICES[coin] * (OPENS // len(COINS))
        facts = {"signal_id": f"close-{coin}-{number}", "symbol": f"{coin}/USDC:USDC", "action": "close", "side": "sell"}
        amounts = {"quantity": held, "price": Decimal(PRICES[coin]), "position_before": held, "position_after": Decimal(0)}
        fields = {name: getattr(template.body.signal, name) for name in template.body.signal.__struct_fields__}
        signal = type(template.body.signal)(**(fields | facts | amounts | {"whale_id": WHALE, "whale_order_id": None}))
        return self.inbox.record(SignalReceived(signal=signal), "s")

    def _decide(self, record: InboxRecord) -> list[Keyed]:
        self._consumed += 1
        self._newest = decide(self.state, record, self.now)
        self.kinds.update(type(event).__name__ for event in self._newest)
        return [encode_event(event) for event in self._newest]

    def _with_fills(self, record: InboxRecord) -> list[Keyed]:
        """A signal's decisions, then the fills of their orders and of what follows from those."""
        keyed = self._decide(record)
        waiting = [command for event in self._newest for command in commands_of(event)]
        while waiting:
            order = waiting.pop()
            if isinstance(order, PlaceOrder):
                keyed += self._decide(self.inbox.record(_fill(order, self.now), "x", self.shard))
                waiting += [command for event in self._newest for command in commands_of(event)]
                # The executor reports the account after each settlement.
                keyed += self._decide(self.inbox.record(equity(order.follower_id, self.now), "x", self.shard))
        return keyed

    async def _round(self, keyed: list[Keyed]) -> None:
        marker = RoundCommitted(
            epoch=self.writer.epoch,
            inbox_from=self.position.inbox_position,
            inbox_to=self._consumed,
            # A shadow history came from no source: whatever the real sources bring is new to the shard.
            sources={} if self._shadow else dict(self.state.sources),
            events=len(keyed),
            first_id=self.position.next_id,
            digest=chain(self.position.digest, (value for _, value in keyed)),
            logic_version=self.state.logic_version,
            commands_through=self.state.command_seq,
            commands_total=self.state.command_seq,
            now=self.state.now,
        )
        offset = await self.writer.write_round(keyed, marker)
        fold_marker(self.state, marker)
        self.position = behind(marker, offset)

    async def _fill_inbox(self) -> None:
        tick = (b"", encode(InboxRecord(body=Tick())))
        await self.writer._append(self.settings.topic(INBOX), [tick] * self._consumed)


def _fill(order: PlaceOrder, now: int) -> OrderSettled:
    return OrderSettled(
        epoch=EPOCH,
        seq=1,
        command_id=order.command_id,
        follower_id=order.follower_id,
        status="filled",
        exchange_order_id="123456789",
        filled=order.quantity,
        average_price=order.reference_price,
        fee_quote=Decimal("0.04"),
        attempts=1,
        attempted_at=now,
        acknowledged_at=now,
        settled_at=now,
    )


async def main(task: dict[str, Any]) -> dict[str, Any]:
    """Write every shard's history."""
    settings = Settings(kafka=task["kafka"], topic_prefix=task["prefix"], partitions=task["partitions"])
    await ensure_topics(settings)
    producer: Any = build_producer(settings, "history")
    await producer.start()
    written, kinds = 0, Counter[str]()
    for shard in range(settings.partitions):
        history = History(settings, shard, producer, task.get("shadow", False))
        await history.write(task["followers"], task["events"], task["snapshot_at"])
        written += history.position.next_id - 1
        kinds += history.kinds
    await producer.stop()
    return {"events": written, "kinds": dict(kinds.most_common())}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
