"""The tables: the one description of every read model. Migrations, checks and `docs/tables.md` come from here."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, PrimaryKeyConstraint, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from projections.columns import METADATA, amount_column, count_column, text_column, time_column, version_column
from projections.schema_older import FOLLOWS, POSITIONS, SIGNALS, TRADES, USERS

__all__ = [
    "CURVE",
    "DECISIONS",
    "EQUITY",
    "FOLLOWS",
    "GENERATION",
    "MARKS",
    "METADATA",
    "POSITIONS",
    "SIGNALS",
    "TRACKING",
    "TRADES",
    "USERS",
]

OLDER_TABLES: Final = ("users", "user_whale_follows", "whale_signals", "trades", "positions")
"""The older system's names, parents before children."""
PARTITIONED: Final = {"copy_decisions": "decided_at", "equity_curve": "bucket_at"}
"""Tables in monthly partitions, and the column that they are cut by."""
PROJECTED: Final = (*OLDER_TABLES, "copy_decisions", "account_equity", "equity_curve", "projection_positions")
"""What one generation consists of, parents before children."""

DECISIONS: Final = Table(
    "copy_decisions",
    METADATA,
    Column("signal_id", BigInteger(), nullable=False, doc="`whale_signals.id`"),
    Column("user_id", BigInteger(), nullable=False, doc="`users.id`"),
    time_column("decided_at", "shard time; the month is the partition", nullable=False),
    text_column("signal_key", "signal_id on the log", nullable=False),
    text_column("follower_key", "follower_id on the log", nullable=False),
    text_column("whale_key", "whale_id on the log", nullable=False),
    text_column("symbol", "the whale's market", nullable=False),
    text_column("outcome", "`copied`, `reduced` (a cap made it smaller) or `skipped`", nullable=False),
    text_column("reason", "reason code of a skip; empty for copies", nullable=False, server_default=""),
    text_column("limit_value", "the limit that was hit, as text"),
    text_column("found_value", "the value that hit it, as text"),
    text_column("venue", "venue of the copy"),
    text_column("venue_symbol", "the venue's market"),
    text_column("direction", "`long` or `short`"),
    text_column("sizing", "sizing mode, or `exit`"),
    amount_column("wanted_quote", "size before caps, quote"),
    amount_column("final_quote", "size after caps, quote"),
    amount_column("quantity", "quantity in the venue's units"),
    Column("inputs", JSONB(), doc="numbers that went into the size, as strings"),
    Column("cuts", JSONB(), doc="caps that made it smaller: [name, before, after], quote, as strings"),
    count_column("orders", "orders requested at once"),
    Column("config_version", Integer(), doc="the follower's version that was applied", nullable=False),
    Column("position", BigInteger(), doc="log position of the event", nullable=False),
    PrimaryKeyConstraint("signal_id", "user_id", "decided_at", name="copy_decisions_pkey"),
    Index("ix_decisions_user", "user_id", "decided_at", "signal_id"),
    Index("ix_decisions_decided", "decided_at"),
    postgresql_partition_by="RANGE (decided_at)",
)

EQUITY: Final = Table(
    "account_equity",
    METADATA,
    Column("user_id", BigInteger(), nullable=False, doc="`users.id`"),
    text_column("venue", "venue", nullable=False),
    text_column("follower_key", "follower_id on the log", nullable=False),
    amount_column("equity", "wallet and unrealised, quote", nullable=False),
    amount_column("available", "free for new orders, quote", nullable=False),
    time_column("reported_at", "when the executor asked (its clock)", nullable=False),
    time_column("updated_at", "last event (shard time)", nullable=False),
    version_column(),
    PrimaryKeyConstraint("user_id", "venue", name="account_equity_pkey"),
)

CURVE: Final = Table(
    "equity_curve",
    METADATA,
    Column("user_id", BigInteger(), nullable=False, doc="`users.id`"),
    text_column("venue", "venue", nullable=False),
    time_column("bucket_at", "begin of five minutes (executor's clock); the month is the partition", nullable=False),
    amount_column("equity", "last report of these five minutes, quote", nullable=False),
    amount_column("available", "last report of these five minutes, quote", nullable=False),
    PrimaryKeyConstraint("user_id", "venue", "bucket_at", name="equity_curve_pkey"),
    postgresql_partition_by="RANGE (bucket_at)",
)

TRACKING: Final = Table(
    "projection_positions",
    METADATA,
    text_column("application_name", "topic, and the partition in brackets", primary_key=True),
    Column("notification_id", BigInteger(), doc="next offset to read: everything before it is in the tables"),
    text_column("topic", "topic"),
    Column("partition", Integer(), doc="partition"),
    Column("epoch", BigInteger(), doc="newest claim seen"),
    Column("inbox_position", BigInteger(), doc="next inbox offset of the last accepted round"),
    text_column("digest", "digest chained over all accepted events"),
    Column("next_id", BigInteger(), doc="notification id that the next accepted event gets"),
    Column("sources", JSONB(), doc="next source offsets by `code/partition`: what reads with min_position wait for"),
    time_column("event_at", "newest event in the tables (shard time)"),
    Column("end_offset", BigInteger(), doc="end of the partition when last looked"),
    amount_column("lag_seconds", "age of the oldest record that is not in the tables; 0 when nothing waits"),
    time_column("checked_at", "when end_offset and lag_seconds were taken (database clock)"),
)

MARKS: Final = Table(
    "market_marks",
    METADATA,
    text_column("venue", "venue", nullable=False),
    text_column("symbol", "the venue's market, unified symbol", nullable=False),
    amount_column("price", "newest mark, quote", nullable=False),
    time_column("marked_at", "when it was read at the venue (executor's clock)", nullable=False),
    Column("position", BigInteger(), nullable=False, doc="offset of the report on its topic"),
    PrimaryKeyConstraint("venue", "symbol", name="market_marks_pkey"),
)
"""Of now, not of the history: no part of a generation."""

GENERATION: Final = Table(
    "projection_generation",
    METADATA,
    Column("only", Boolean(), primary_key=True, server_default=text("true"), doc="there is one row"),
    Column("live", Integer(), nullable=False, server_default="1", doc="generation under the tables' own names"),
    Column("previous", Integer(), doc="generation to which a rollback goes, in schema `generation_<n>`"),
    time_column("swapped_at", "last swap (database clock)"),
    Column("oldest_month", DateTime(timezone=True), doc="months before this one have been dropped"),
)
