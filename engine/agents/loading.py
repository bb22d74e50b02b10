"""Loading a shard: the claim, then the newest snapshot, then the log up to the claim.

Enters: a writer that has not claimed yet. Leaves: the state that all accepted events give, and the position to go on from.
"""

from __future__ import annotations

from engine.config import Settings
from engine.log.consume import open_consumer
from engine.log.replay import Loaded, check_inbox, fold_log
from engine.log.writer import ShardWriter


async def load_shard(settings: Settings, writer: ShardWriter, owner: str) -> Loaded:
    """Claim and load; the writer may write from then on."""
    epoch = await writer.claim(owner)
    async with open_consumer(settings) as consumer:
        loaded = await fold_log(consumer, settings, writer.shard, epoch + 1)
        loaded.inbox_end = await check_inbox(consumer, settings, writer.shard, loaded.position.inbox_position)
    return loaded
