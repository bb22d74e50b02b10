"""THE MAP: every topic with its key, partitions, settings, writers and readers; every handler and every table.

The only file where a topic name is spelled. Partitions of the sharded topics are `settings.partitions` (P); a follower
lives in shard `murmur2(follower_id) mod P`, computed here and sent explicitly, since Kafka clients hash differently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from aiokafka.partitioner import murmur2

DAY_MS: Final = 86_400_000
MAX_RECORD_BYTES: Final = 1_000_000
"""Largest record or batch a client of ours sends; a signal larger than `MAX_SIGNAL_BYTES` is rejected."""
MAX_SIGNAL_BYTES: Final = 64_000
SHARDED: Final = 0
"""`Topic.partitions` value that means: P, the shard count."""


@dataclass(frozen=True)
class Topic:
    """One Kafka topic. `partitions` 0 means P; `config` holds broker-side topic settings as strings."""

    name: str
    key: str
    partitions: int
    written_by: str
    read_by: str
    retention_ms: int = -1
    config: dict[str, str] = field(default_factory=dict, hash=False)

    def partition_count(self, shards: int) -> int:
        """Number of partitions for `shards` shards."""
        return self.partitions or shards

    def settings(self) -> dict[str, str]:
        """Broker-side settings that are set at creation and held at every start."""
        return {"retention.ms": str(self.retention_ms), "cleanup.policy": "delete"} | self.config


_APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime"}
_BIG: Final = {"max.message.bytes": "4194304"}
# Whatever codec a foreign producer uses, the broker stores what every reader of ours can read.
_READABLE: Final = {"compression.type": "uncompressed"}

SIGNALS: Final = Topic("whale.signals.v1", "whale_id", 8, "detectors", "sequencer", config=_APPEND_TIME | _BIG | _READABLE)
REJECTED: Final = Topic("whale.signals.rejected.v1", "as received", 1, "sequencer", "operators", 30 * DAY_MS, config=_BIG)
FOLLOWER_COMMANDS: Final = Topic("follower.commands.v1", "follower_id", SHARDED, "api, cli", "sequencer", config=_READABLE)
CONTROL: Final = Topic("engine.control.v1", "-", 1, "api, cli, sequencer", "sequencer, executor", config=_READABLE)
INBOX: Final = Topic("engine.inbox.v1", "shard", SHARDED, "sequencer", "engine", 30 * DAY_MS, config=_APPEND_TIME)
EVENTS: Final = Topic("follower.events.v1", "follower_id", SHARDED, "engine", "engine, projector, tools", config=_APPEND_TIME)
TRADE_COMMANDS: Final = Topic("trade.commands.v1", "follower_id", SHARDED, "engine", "executor", 30 * DAY_MS)
EXECUTIONS: Final = Topic("trade.executions.v1", "follower_id", SHARDED, "executor", "sequencer, executor, projector", config=_APPEND_TIME)
MARKET_REPORTS: Final = Topic("market.reports.v1", "venue and symbol", 1, "executor of shard 0", "sequencer, projector", 30 * DAY_MS)
_COMPACTED: Final = {"cleanup.policy": "compact", "segment.bytes": "67108864", "min.cleanable.dirty.ratio": "0.1"}
"""Only closed segments are compacted: small ones, so that old snapshots go soon."""
SNAPSHOTS: Final = Topic("engine.snapshots.v1", "shard and slot", SHARDED, "engine", "engine", config=_COMPACTED)

DEAD: Final[dict[str, Topic]] = {
    topic.name: Topic(f"{topic.name}.dead", "as received", 1, "sequencer, projector", "operators", 30 * DAY_MS, config=_BIG)
    for topic in (FOLLOWER_COMMANDS, CONTROL, EVENTS, MARKET_REPORTS, EXECUTIONS)
}
"""Topic name to where its unreadable records go (unreadable signals have `REJECTED`)."""

TOPICS: Final[tuple[Topic, ...]] = (
    SIGNALS,
    REJECTED,
    FOLLOWER_COMMANDS,
    CONTROL,
    INBOX,
    EVENTS,
    TRADE_COMMANDS,
    EXECUTIONS,
    MARKET_REPORTS,
    SNAPSHOTS,
    *DEAD.values(),
)

HANDLERS: Final[dict[str, str]] = {
    "whale.signals.v1": "engine.agents.sequencer: sequence_signals",
    "follower.commands.v1": "engine.agents.sequencer: sequence_commands",
    "engine.control.v1": "engine.agents.sequencer: sequence_control; engine.executor.switches: watch_control",
    "market.reports.v1": "engine.agents.sequencer: sequence_market; projections.marks: Marks",
    "trade.executions.v1": "engine.agents.sequencer: sequence_executions; projections.executions: ExecutionLane",
    "engine.inbox.v1": "engine.agents.engine: decide_inbox",
    "follower.events.v1": "engine.log.reader: RoundReader; projections.lanes: EventLane",
    "trade.commands.v1": "engine.executor.group: execute_commands",
}
"""Topic to the functions that read it."""

TABLES: Final[dict[str, str]] = {
    "users": "followers, one row each (the older system's name)",
    "user_whale_follows": "which follower copies which whale, and how",
    "whale_signals": "every accepted signal with its status",
    "copy_decisions": "exactly one row a signal and follower: copied, reduced or skipped, and why",
    "trades": "one row an order that was requested",
    "positions": "one row a lot: follower, venue, symbol, direction, whale",
    "account_equity": "the newest equity of each follower and venue",
    "equity_curve": "equity of each follower and venue, every five minutes",
    "market_marks": "the newest mark of each venue and symbol",
    "projection_positions": "how far each partition has been projected",
    "projection_generation": "which generation of the tables is live",
}
"""Read models in Postgres, written by the projector only."""


def shard_of(follower_id: str, shards: int) -> int:
    """The shard of a follower: murmur2 of the UTF-8 id, positive, modulo the shard count."""
    digest: int = murmur2(follower_id.encode())  # type: ignore[no-untyped-call]
    return (digest & 0x7FFFFFFF) % shards


SOURCES: Final[dict[str, Topic]] = {"s": SIGNALS, "f": FOLLOWER_COMMANDS, "c": CONTROL, "m": MARKET_REPORTS, "x": EXECUTIONS}
"""Codes of `SourcePosition.source`."""
BROADCAST_SOURCES: Final = frozenset({"s", "c", "m"})
"""Sources whose records go to every shard; the others have P partitions and partition p goes to shard p."""
