"""Signals in Postgres, under the names of the older system's tests: saved, found, updated, queued, rolled back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.domain.events import SignalReleased
from projections.ids import whale_number
from tests.logbook import START_MS, admitted, configured, copied, decided, ended, expired, followed, order, signal
from tests.tables import Tables


def save(tables: Tables, signal_id: str, offset: int, **fields: Any) -> None:
    """The signal reaches both shards."""
    for shard in (0, 1):
        tables.tell(shard, admitted(shard, signal(signal_id, **fields), offset))


def finish(tables: Tables, signal_id: str) -> None:
    """Both shards decide, without followers."""
    for shard in (0, 1):
        tables.tell(shard, decided(shard, signal_id))


def keys(rows: list[dict[str, Any]]) -> list[str]:
    return [row["signal_key"] for row in rows]


def test_save_new_signal(tables: Tables) -> None:
    save(tables, "s-1", 7, priority="high", whale_order_id="w-9", position_after=Decimal("1.5"))
    row = tables.row("SELECT * FROM whale_signals")
    assert (row["signal_key"], row["status"], row["priority"], row["origin"]) == ("s-1", "PENDING", "high", "log")
    assert (row["amount"], row["price"], row["position_after"]) == (Decimal("1.5"), Decimal(60000), Decimal("1.5"))
    assert (row["whale_key"], row["whale_id"], row["whale_order_id"]) == ("whale-a", whale_number("whale-a"), "w-9")
    assert (row["source_offset"], row["shards_admitted"], row["version"], row["trades_executed"]) == (7, 2, 2, 0)
    assert row["detected_at"].timestamp() * 1000 == START_MS
    assert row["processed_at"] is None


def test_amounts_that_the_older_columns_cannot_hold(tables: Tables) -> None:
    """Twenty digits before the point and eighteen after it are a valid signal: kept exactly, beside the older columns."""
    huge, tiny = Decimal("99999999999999999999"), Decimal("0.000000000000000001")
    save(tables, "s-1", 0, quantity=huge, price=tiny, symbol="A" * 40 + "/USDC:USDC")
    row = tables.row("SELECT quantity, fill_price, amount, price, symbol FROM whale_signals")
    assert row == {"quantity": huge, "fill_price": tiny, "amount": None, "price": 0, "symbol": "A" * 30}
    tables.tell(0, configured("f", max_leverage=huge), followed("f", trade_size_usdt=huge))
    row = tables.row("SELECT max_leverage, leverage_limit, trade_size_usdt, terms FROM users JOIN user_whale_follows ON user_id = users.id")
    assert row == {"max_leverage": 2**31 - 1, "leverage_limit": huge, "trade_size_usdt": None, "terms": {"trade_size_usdt": str(huge)}}
    assert tables.buried == []


def test_get_by_id(tables: Tables) -> None:
    save(tables, "s-1", 0)
    save(tables, "s-2", 1)
    by_key = tables.query("get_signal_by_key", signal_key="s-2")
    assert keys(by_key) == ["s-2"]
    assert tables.query("get_signal", id=by_key[0]["id"]) == by_key


def test_get_by_id_not_found(tables: Tables) -> None:
    save(tables, "s-1", 0)
    assert tables.query("get_signal", id=1) == []
    assert tables.query("get_signal_by_key", signal_key="s-3") == []


def test_save_updates_existing_signal(tables: Tables) -> None:
    tables.tell(0, admitted(0, signal()))
    before = tables.row("SELECT id, version, status, shards_admitted FROM whale_signals")
    tables.tell(1, admitted(1, signal(), at=START_MS + 3), decided(1))
    after = tables.row("SELECT id, version, status, shards_admitted, received_at FROM whale_signals")
    assert after["id"] == before["id"]
    assert (before["version"], before["status"], before["shards_admitted"]) == (1, "PENDING", 1)
    assert (after["version"], after["status"], after["shards_admitted"]) == (3, "PROCESSING", 2)
    assert after["received_at"].timestamp() * 1000 == START_MS + 3, "the earliest shard counts, whoever is projected first"


def test_get_pending_signals(tables: Tables) -> None:
    save(tables, "old-low", 0, priority="low", detected_at=START_MS - 900)
    save(tables, "new-high", 1, priority="high", detected_at=START_MS)
    save(tables, "old-high", 2, priority="high", detected_at=START_MS - 500)
    save(tables, "medium", 3)
    save(tables, "done", 4, priority="high", detected_at=START_MS - 1000)
    finish(tables, "done")
    assert keys(tables.query("pending_signals", lowest="low", limit=10)) == ["old-high", "new-high", "medium", "old-low"]
    assert keys(tables.query("pending_signals", lowest="low", limit=2)) == ["old-high", "new-high"]


def test_get_pending_signals_with_min_priority(tables: Tables) -> None:
    for offset, priority in enumerate(("low", "medium", "high")):
        save(tables, priority, offset, priority=priority)
    assert keys(tables.query("pending_signals", lowest="medium", limit=10)) == ["high", "medium"]
    assert keys(tables.query("pending_signals", lowest="high", limit=10)) == ["high"]


def test_get_processing_signals(tables: Tables) -> None:
    save(tables, "waits", 0)
    save(tables, "half", 1)
    tables.tell(0, decided(0, "half"))
    assert keys(tables.query("signals_by_status", status="PROCESSING", limit=10)) == ["half"]
    for offset, priority in enumerate(("low", "high"), 2):
        save(tables, priority, offset, priority=priority)
        tables.tell(0, decided(0, priority))
    assert keys(tables.query("signals_by_status", status="PROCESSING", limit=2)) == ["high", "half"], "medium comes before low"


def test_get_signals_by_whale(tables: Tables) -> None:
    save(tables, "a-1", 0)
    save(tables, "b-1", 1, whale_id="17")
    save(tables, "a-2", 2, detected_at=START_MS + 1)
    finish(tables, "a-1")
    whale_a = whale_number("whale-a")
    assert keys(tables.query("signals_by_whale", whale_id=whale_a, status=None, limit=10)) == ["a-2", "a-1"]
    assert keys(tables.query("signals_by_whale", whale_id=whale_a, status="PROCESSED", limit=10)) == ["a-1"]
    assert keys(tables.query("signals_by_whale", whale_id=17, status=None, limit=10)) == ["b-1"], "numeric whale ids are kept"


def test_get_by_status(tables: Tables) -> None:
    """Each status comes about as it should."""
    for offset, signal_id in enumerate(("pending", "processing", "nobody", "expired", "half-expired", "failed", "filled")):
        save(tables, signal_id, offset)
    tables.tell(0, decided(0, "processing"))
    finish(tables, "nobody")
    for shard in (0, 1):
        tables.tell(shard, expired(shard, "expired"))
    tables.tell(0, expired(0, "half-expired"))
    tables.tell(1, decided(1, "half-expired"))
    tables.tell(0, configured("f"), followed("f"))
    for signal_id, fields in (
        ("failed", {"status": "rejected", "reason": "margin", "filled": Decimal(0), "quantity": Decimal(0)}),
        ("filled", {}),
    ):
        placed = order("f", signal_id)
        tables.tell(0, copied("f", placed, signal_id=signal_id), decided(0, signal_id))
        tables.tell(1, decided(1, signal_id))
        assert tables.query("get_signal_by_key", signal_key=signal_id)[0]["status"] == "PROCESSING", "an order is under way"
        tables.tell(0, ended(placed, **fields))
    expected = {
        "PENDING": ["pending"],
        "PROCESSING": ["processing"],
        "PROCESSED": ["nobody", "half-expired", "filled"],
        "FAILED": ["failed"],
        "EXPIRED": ["expired"],
    }
    for status, signal_ids in expected.items():
        assert sorted(keys(tables.query("signals_by_status", status=status, limit=10))) == sorted(signal_ids)
    failed = tables.query("get_signal_by_key", signal_key="failed")[0]
    assert (failed["error_message"], failed["trades_executed"]) == ("margin", 0)
    assert tables.query("get_signal_by_key", signal_key="filled")[0]["trades_executed"] == 1


def test_signal_saved_through_uow(tables: Tables) -> None:
    """Rows and position are one transaction."""
    round_ = tables.round(0, admitted(0, signal()))
    tables.write(round_)
    assert tables.row("SELECT status FROM whale_signals")["status"] == "PENDING"
    stand = tables.row("SELECT notification_id, sources FROM projection_positions WHERE application_name = 'follower.events.v1[0]'")
    assert (stand["notification_id"], stand["sources"]) == (round_.marker_offset + 1, {"s/0": 1})


def test_signal_queue_workflow_through_uow(tables: Tables) -> None:
    """Held, released, decided, filled: each step is visible, and the end is final."""
    for shard in (0, 1):
        tables.tell(shard, admitted(shard, signal(), held="paused"))
    assert tables.query("pending_signals", lowest="low", limit=1)[0]["held"] == "paused"
    released = SignalReleased(originator_id="shard-1", originator_version=2, at=START_MS + 10, signal_id="s-1")
    tables.tell(1, released)
    assert tables.query("pending_signals", lowest="low", limit=1)[0]["held"] == ""
    placed = order("f")
    tables.tell(0, configured("f"), followed("f"), copied("f", placed), decided(0, followers=1, copied=1, orders=1))
    tables.tell(1, decided(1))
    row = tables.row("SELECT status, held, processed_at, followers, copied, orders_sent, orders_ended FROM whale_signals")
    assert (row["status"], row["held"], row["processed_at"]) == ("PROCESSING", "", None)
    assert (row["followers"], row["copied"], row["orders_sent"], row["orders_ended"]) == (1, 1, 1, 0)
    tables.tell(0, ended(placed))
    row = tables.row("SELECT status, processed_at, trades_executed, orders_ended FROM whale_signals")
    assert (row["status"], row["trades_executed"], row["orders_ended"]) == ("PROCESSED", 1, 1)
    assert row["processed_at"].timestamp() * 1000 == START_MS + 40


def test_rollback_on_exception(tables: Tables) -> None:
    """What cannot be committed leaves neither rows nor positions, and can be tried again."""
    round_ = tables.round(0, admitted(0, signal()), extra=[b"not json"])

    def no_broker(topic: str, poison: object) -> None:
        if poison:
            raise ConnectionError("the dead letter was not taken")

    tables.bury = no_broker  # type: ignore[assignment,method-assign]
    with pytest.raises(ConnectionError):
        tables.write(round_)
    assert tables.rows("SELECT 1 FROM whale_signals") == []
    assert tables.row("SELECT max(notification_id) AS top FROM projection_positions")["top"] == 0
    del tables.bury  # type: ignore[method-assign]
    tables.write(round_)
    assert tables.row("SELECT signal_key FROM whale_signals")["signal_key"] == "s-1"
    assert [(topic, each.value) for topic, each in tables.buried] == [("follower.events.v1", b"not json")]
