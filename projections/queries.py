"""Reading the tables: a name of `FILES` and values enter, a statement with its parameters leaves.

Lists take filters from the fixed table below, so each combination is a statement of its own and gets its own plan.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, Final, LiteralString

from projections.sql import load

FILES: Final = ("queries.sql", "lists.sql", "dashboard.sql")
FILTERS: Final[dict[str, dict[str, LiteralString]]] = {
    "list_signals": {
        "status": "t.status = ANY(%(status)s)",
        "priority": "t.priority = %(priority)s",
        "whale_id": "t.whale_id = %(whale_id)s",
        "symbol": "t.symbol = %(symbol)s",
        "source": "t.source = %(source)s",
        "before": "(t.detected_at, t.id) < (%(before_0)s, %(before_1)s)",
    },
    "list_trades": {
        "user_id": "t.user_id = %(user_id)s",
        "signal_key": "t.signal_id = (SELECT s.id FROM whale_signals AS s WHERE s.signal_key = %(signal_key)s)",
        "status": "t.status = %(status)s",
        "exchange": "t.exchange = %(exchange)s",
        "symbol": "t.symbol = %(symbol)s",
        "kind": "t.kind = %(kind)s",
        "whale": "t.whale_key = %(whale)s",
        "before": "(t.created_at, t.id) < (%(before_0)s, %(before_1)s)",
    },
    "list_decisions": {
        "user_id": "t.user_id = %(user_id)s",
        "signal_key": "t.signal_id = (SELECT s.id FROM whale_signals AS s WHERE s.signal_key = %(signal_key)s)",
        "outcome": "t.outcome = %(outcome)s",
        "reason": "t.reason = %(reason)s",
        "whale": "t.whale_key = %(whale)s",
        "before": "(t.decided_at, t.signal_id, t.user_id) < (%(before_0)s, %(before_1)s, %(before_2)s)",
    },
    "list_followers": {
        "user_id": "t.id = %(user_id)s",
        "mode": "t.mode = %(mode)s",
        "whale_id": (
            "EXISTS (SELECT FROM user_whale_follows AS w WHERE w.user_id = t.id AND w.whale_id = %(whale_id)s AND w.unfollowed_at IS NULL)"
        ),
        "before": "t.id > %(before_0)s",
    },
    "list_accounts": {
        "user_id": "t.user_id = %(user_id)s",
        "venue": "t.venue = %(venue)s",
        "before": "(t.user_id, t.venue) > (%(before_0)s, %(before_1)s)",
    },
    "equity_page": {
        "user_id": "t.user_id = %(user_id)s",
        "venue": "t.venue = %(venue)s",
        "since": "t.bucket_at >= %(since)s",
        "until": "t.bucket_at < %(until)s",
        "before": "(t.bucket_at, t.venue) < (%(before_0)s, %(before_1)s)",
    },
    "list_positions": {
        "user_id": "t.user_id = %(user_id)s",
        "status": "t.status = %(status)s",
        "exchange": "t.exchange = %(exchange)s",
        "symbol": "t.symbol = %(symbol)s",
        "whale": "t.whale_key = %(whale)s",
        "before": "t.id < %(before_0)s",
    },
}
"""List to its filters: name to condition."""


def query(name: str) -> LiteralString:
    """A statement of one of `FILES` by its name."""
    return ChainMap(*map(load, FILES))[name]


def listing(name: str, filters: Mapping[str, Any], before: tuple[Any, ...] | None, limit: int) -> tuple[LiteralString, dict[str, Any]]:
    """A list's statement and parameters. Filters that are None do not filter; `before` are the sort values of the last row of a page."""
    given = {key: value for key, value in filters.items() if value is not None}
    conditions = [FILTERS[name][key] for key in given]
    if before is not None:
        conditions.append(FILTERS[name]["before"])
        given |= {f"before_{number}": value for number, value in enumerate(before)}
    clause: LiteralString = "".join([" AND " + condition for condition in conditions])
    return query(name).replace("{filters}", clause), given | {"limit": limit}
