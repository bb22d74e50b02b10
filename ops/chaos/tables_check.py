"""From the events to the tables: a row for every fact, no row without one, positions at the log's own digest.

Enters: what the events say, settings. Leaves: findings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from engine.config import Settings
from engine.topology import EVENTS
from ops.chaos.events_check import Told
from ops.chaos.history import Findings
from ops.commands.common import query

ROWS: Final[dict[str, str]] = {
    "whale_signals": "SELECT signal_key FROM whale_signals WHERE origin = 'log'",
    "copy_decisions": "SELECT signal_key, follower_key, outcome, reason FROM copy_decisions",
    "trades": "SELECT command_key FROM trades WHERE origin = 'log'",
    "users": "SELECT follower_key FROM users WHERE origin = 'log'",
    "user_whale_follows": "SELECT follower_key, whale_key FROM user_whale_follows WHERE origin = 'log'",
    "account_equity": "SELECT follower_key, venue FROM account_equity",
    "ends": "SELECT command_key, status, filled FROM trades WHERE origin = 'log' AND settled_at IS NOT NULL",
}
POSITIONS: Final = 'SELECT "partition", digest, next_id FROM projection_positions WHERE topic = %(topic)s'
DEAD: Final = "SELECT signal_key, status FROM whale_signals WHERE origin = 'log' AND status NOT IN ('PROCESSED', 'FAILED', 'EXPIRED')"


def check_tables(settings: Settings, told: Told, found: Findings) -> None:
    """Hold every table against the events."""
    facts: dict[str, set[tuple[Any, ...]]] = {
        "whale_signals": {(signal,) for signals in told.admitted.values() for signal in signals},
        "copy_decisions": {(*key, *answer) for key, answer in told.decisions.items()},
        "trades": {(command,) for command in told.orders},
        "users": {(follower,) for follower in told.followers},
        "user_whale_follows": told.follows,
        "account_equity": told.accounts,
        "ends": {(command, end.status, end.filled) for command, end in told.ended.items()},
    }
    for table, statement in ROWS.items():
        _compare(table, facts[table], [tuple(row.values()) for row in query(settings, statement)], found)
    for row in query(settings, DEAD):
        found.add("lost", f"signal {row['signal_key']} ends as {row['status']} in whale_signals")


def _compare(table: str, facts: set[tuple[Any, ...]], rows: list[tuple[Any, ...]], found: Findings) -> None:
    for missing in _sorted(facts - set(rows)):
        found.add("lost", f"{table} has no row for {missing}")
    for extra in _sorted(set(rows) - facts):
        found.add("unexplained", f"{table} has {extra}, which no event explains")
    if len(rows) != len(set(rows)):
        found.add("duplicated", f"{table} has {len(rows) - len(set(rows))} rows twice")


def _sorted(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=str)


def projected_digests(settings: Settings) -> dict[int, tuple[str, int]]:
    """Partition to the digest that the tables stand at, and the next notification id."""
    rows = query(settings, POSITIONS, topic=settings.topic(EVENTS))
    return {row["partition"]: (row["digest"], row["next_id"]) for row in rows}
