"""Taking over a shard: claim its partition, fold what is on it, find where to read commands from.

Enters: partition number. Leaves: a journal whose epoch is our claim, the history before it, the hint that was used. Attempts without an
outcome are reconciled by their own lanes: a former owner can only still send what it recorded before our claim, so no other order has
to wait for its receive windows (docs/decisions/0041).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from engine.config import Settings
from engine.errors import RemoraError
from engine.exchanges.wire import now_ms
from engine.executor.history import History
from engine.executor.journal import Journal
from engine.executor.seqs import Hint
from engine.log.consume import open_consumer, read_range
from engine.topology import EXECUTIONS, TRADE_COMMANDS

log = logging.getLogger(__name__)
_HINT = msgspec.json.Decoder(Hint)


async def read_hint(settings: Settings, partition: int) -> tuple[int, Hint] | None:
    """The group's committed position with its hint; None when there is none that can be used."""
    tp = TopicPartition(settings.topic(TRADE_COMMANDS), partition)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        await admin.start()  # type: ignore[no-untyped-call]
        committed = await admin.list_consumer_group_offsets(settings.group("executor"), partitions=[tp])
    except KafkaError as error:
        log.warning("no committed position of shard %s: %r", partition, error)
        return None
    finally:
        await admin.close()  # type: ignore[no-untyped-call]
    found = committed.get(tp)
    if found is None or found.offset < 0 or not found.metadata:
        return None
    try:
        return found.offset, _HINT.decode(found.metadata)
    except msgspec.DecodeError:
        return None


async def fold_history(settings: Settings, partition: int, hint: Hint | None, until: int) -> History:
    """Fold the executions of a partition from the hint to just before offset `until`."""
    history, start = History(epoch=hint.epoch if hint else -1), hint.executions if hint else 0
    async with open_consumer(settings) as consumer:
        async for records in read_range(consumer, settings.topic(EXECUTIONS), partition, start, until):
            for record in records:
                history.fold(record.offset, record.value or b"")
    return history


async def take_over(
    settings: Settings, producer: AIOKafkaProducer, partition: int, owner: str, die: Callable[[RemoraError], NoReturn]
) -> tuple[Journal, History, tuple[int, Hint] | None]:
    """Claim and replay. The hint is read before the claim, so that everything it leaves out is before our epoch."""
    found = await read_hint(settings, partition)
    journal = Journal(producer, settings.topic(EXECUTIONS), partition, die)
    epoch = await journal.claim(owner, now_ms())
    history = await fold_history(settings, partition, found[1] if found else None, epoch)
    log.info("shard %s claimed at %s: %s attempts without outcome", partition, epoch, len(history.open))
    return journal, history, found
