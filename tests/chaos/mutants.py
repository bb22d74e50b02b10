"""Rules of the design, each broken by a patch that a child of a chaos run loads (`CHAOS_PATCHES`). The product has no such switch."""

from __future__ import annotations

import asyncio
import time
from typing import Any


def accept_unmarked(role: str) -> None:
    """Events that no marker closed count as soon as the next writer claims."""
    from engine.domain.events import RoundCommitted
    from engine.log import reader

    feed = reader.RoundReader.feed

    def mutant(self: Any, records: Any) -> list[reader.AcceptedRound]:
        accepted: list[reader.AcceptedRound] = []
        for record in records:
            if record.key == reader.CLAIM_KEY and self._pending:
                self._close(_forged(self), record.offset - 1, accepted)
            accepted += feed(self, [record])
        return accepted

    def _forged(self: Any) -> RoundCommitted:
        position = self.position
        return RoundCommitted(
            epoch=self.epoch,
            inbox_from=position.inbox_position,
            inbox_to=position.inbox_position,
            sources={},
            events=len(self._pending),
            first_id=position.next_id,
            digest=reader.chain(position.digest, (event[2] for event in self._pending)),
            logic_version=1,
            commands_through=0,
            commands_total=0,
            now=0,
        )

    reader.RoundReader.feed = mutant  # type: ignore[method-assign]


def ignore_acks(role: str) -> None:
    """A writer does not look at where its records were appended."""
    from engine.log import writer

    async def mutant(self: Any, events: Any, marker: Any) -> int:
        answers = await self._append(self._events, [*events, (writer.ROUND_KEY, writer.encode(marker))])
        self.next_offset = answers[-1][0].offset + answers[-1][1]
        return int(self.next_offset) - 1

    writer.ShardWriter.write_round = mutant  # type: ignore[method-assign]


def forget_commands(role: str) -> None:
    """A new owner does not send again what the former one may not have sent."""
    from engine.agents import shard

    load_shard = shard.load_shard

    async def mutant(*arguments: Any) -> Any:
        loaded = await load_shard(*arguments)
        loaded.state.outbox.clear()
        return loaded

    shard.load_shard = mutant


def trust_group_offsets(role: str) -> None:
    """The inbox is read from where the group stands; rounds are slow, so that it stands ahead of them."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.structs import TopicPartition

    from engine.agents import engine
    from engine.log import writer

    next_inbox, write_round = engine.Engine._next_inbox, writer.ShardWriter.write_round

    async def mutant(self: Any, tp: Any) -> int:
        own = await next_inbox(self, tp)
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka)
        await admin.start()
        found = await admin.list_consumer_group_offsets(self._settings.group("engine"))
        await admin.close()
        shard = self.shards[tp.partition]
        position = found.get(TopicPartition(tp.topic, tp.partition))
        shard.next_inbox = shard._expected = max(position.offset, 0) if position else own
        return int(shard.next_inbox)

    async def slow(self: Any, events: Any, marker: Any) -> int:
        await asyncio.sleep(2.0)
        return await write_round(self, events, marker)

    engine.Engine._next_inbox = mutant  # type: ignore[method-assign]
    writer.ShardWriter.write_round = slow  # type: ignore[method-assign]


def read_the_clock(role: str) -> None:
    """Now is what the clock says, not when the record was appended."""
    from engine.agents import shard

    decide = shard.decide
    shard.decide = lambda state, record, _: decide(state, record, int(time.time() * 1000))


def retry_on_timeout(role: str) -> None:
    """An answer that proves nothing is taken for a refusal: the order is sent again."""
    from engine.exchanges.port import Verdict
    from engine.executor import placement
    from engine.executor.jobs import Again

    act = placement.Placement._act

    async def mutant(self: Any, job: Any, answer: Any) -> Any:
        return Again(0.0) if answer.judgement.verdict is Verdict.UNKNOWN else await act(self, job, answer)

    placement.Placement._act = mutant  # type: ignore[method-assign]
