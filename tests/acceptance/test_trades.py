"""Orders in Postgres: requested, attempted, unknown, ended; found by id, follower and signal."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from psycopg.rows import dict_row

from engine.domain.messages import ExecutorClaimed, OrderAttempted, OrderUnknown
from engine.log.codec import encode_event
from projections.ids import user_id
from projections.queries import listing
from tests.logbook import START_MS, VENUE, VENUE_SYMBOL, admitted, configured, copied, ended, followed, order, signal
from tests.tables import Tables

PLACED = order("f", leverage=Decimal("2.5"))


@pytest.fixture
def copying(tables: Tables) -> Tables:
    """Follower f copies s-1 with one order."""
    tables.tell(0, configured("f"), followed("f"), admitted(0, signal()), copied("f", PLACED))
    return tables


def attempted(attempt: int = 1, epoch: int = 0) -> OrderAttempted:
    return OrderAttempted(epoch=epoch, seq=1, attempt=attempt, sent_at=START_MS + 20 * attempt, recv_window_ms=5000, order=PLACED)


def unknown(epoch: int = 0) -> OrderUnknown:
    return OrderUnknown(epoch=epoch, seq=1, command_id=PLACED.command_id, follower_id="f", attempt=1, reason="timeout", at=START_MS + 25)


def test_save_new_trade(copying: Tables) -> None:
    row = copying.row("SELECT * FROM trades")
    assert (row["command_key"], row["status"], row["origin"], row["version"]) == (PLACED.command_id, "pending", "log", 1)
    assert (row["exchange"], row["symbol"], row["side"], row["kind"], row["mode"]) == (VENUE, VENUE_SYMBOL, "buy", "open", "paper")
    assert (row["quantity"], row["price"], row["limit_price"]) == (Decimal("0.002"), Decimal(60000), Decimal(60300))
    assert (row["leverage"], row["requested_leverage"]) == (2, Decimal("2.5"))
    assert row["user_id"] == user_id("f")
    assert row["signal_id"] == copying.row("SELECT id FROM whale_signals")["id"]
    stages = [
        row[name].timestamp() * 1000 - START_MS for name in ("detected_at", "published_at", "received_at", "decided_at", "created_at")
    ]
    assert stages == [0, 5, 10, 11, 11]
    assert (row["attempted_at"], row["settled_at"], row["executed_at"]) == (None, None, None)


def test_get_trade_by_id(copying: Tables) -> None:
    by_key = copying.query("get_trade_by_key", command_key=PLACED.command_id)
    assert copying.query("get_trade", id=by_key[0]["id"]) == by_key


def test_get_trade_by_id_not_found(copying: Tables) -> None:
    assert copying.query("get_trade", id=3) == []
    assert copying.query("get_trade_by_key", command_key="f" * 32) == []


def test_save_updates_existing_trade(copying: Tables) -> None:
    copying.tell(0, ended(PLACED, average_price=Decimal("60006.5"), slippage_bps=Decimal("1.08"), fee_base=Decimal("0.00000012345678901")))
    row = copying.row("SELECT * FROM trades")
    assert (row["status"], row["version"], row["exchange_order_id"], row["attempts"]) == ("filled", 2, "x-1", 1)
    assert (row["filled"], row["lot_quantity"], row["price"]) == (Decimal("0.002"), Decimal("0.002"), Decimal("60006.5"))
    assert row["fee_base"] == Decimal("0.00000012345678901"), "money keeps every digit"
    assert (row["slippage_bps"], row["fee_quote"], row["reason"]) == (Decimal("1.08"), Decimal("0.06"), None)
    stages = [row[name].timestamp() * 1000 - START_MS for name in ("attempted_at", "acknowledged_at", "settled_at", "executed_at")]
    assert stages == [20, 30, 35, 35]


def test_a_refused_order_says_why(copying: Tables) -> None:
    copying.tell(
        0,
        ended(
            PLACED,
            status="rejected",
            reason="insufficient_margin",
            raw_code="-2019",
            filled=Decimal(0),
            quantity=Decimal(0),
            average_price=None,
        ),
    )
    row = copying.row("SELECT status, reason, raw_code, executed_at, price FROM trades")
    assert row == {"status": "rejected", "reason": "insufficient_margin", "raw_code": "-2019", "executed_at": None, "price": Decimal(60000)}


def test_requested_and_ended_in_one_batch_is_the_same_row(tables: Tables, copying: Tables) -> None:
    two = order("f", "s-2")
    copying.tell(0, admitted(0, signal("s-2"), 1), copied("f", two, signal_id="s-2"), ended(two))
    copying.tell(0, ended(PLACED))
    same = "SELECT status, price, filled, version, attempts, executed_at, settled_at, updated_at FROM trades WHERE command_key = %s"
    assert copying.row(same, two.command_id) == copying.row(same, PLACED.command_id)


def test_trades_by_follower_and_by_signal(copying: Tables) -> None:
    copying.tell(1, configured("g"), followed("g"), admitted(1, signal()), copied("g"))
    two = order("f", "s-2")
    copying.tell(0, admitted(0, signal("s-2"), 1), copied("f", two, signal_id="s-2", at=START_MS + 500))

    def found(**filters: object) -> list[str]:
        statement, parameters = listing("list_trades", filters, None, 10)
        with psycopg.connect(copying.dsn, row_factory=dict_row) as connection:
            return [row["follower_key"] + ":" + row["cause"] for row in connection.execute(statement, parameters)]

    assert found(user_id=user_id("f")) == ["f:s-2", "f:s-1"]
    assert sorted(found(signal_key="s-1")) == ["f:s-1", "g:s-1"]
    assert found(signal_key="s-1", user_id=user_id("g")) == ["g:s-1"]
    assert found(signal_key="nobody's") == []


def test_attempts_and_unknown_answers(copying: Tables) -> None:
    copying.execute(0, ExecutorClaimed(owner="e", at=START_MS), attempted())
    row = copying.row("SELECT status, attempts, attempted_at, unknown_at, version FROM trades")
    assert (row["status"], row["attempts"], row["unknown_at"], row["version"]) == ("attempted", 1, None, 2)
    assert row["attempted_at"].timestamp() * 1000 == START_MS + 20
    copying.execute(0, unknown())
    assert copying.row("SELECT status, reason, version FROM trades") == {"status": "unknown", "reason": "timeout", "version": 3}
    copying.tell(0, ended(PLACED, attempts=2))
    assert copying.row("SELECT status, reason, attempts, version FROM trades") == {
        "status": "filled",
        "reason": None,
        "attempts": 2,
        "version": 4,
    }


def test_an_end_wins_over_late_attempts(copying: Tables) -> None:
    """Two topics have no common order: whichever is projected first, the row is the same."""
    copying.tell(0, ended(PLACED))
    copying.execute(0, ExecutorClaimed(owner="e", at=START_MS), attempted(), unknown())
    row = copying.row("SELECT status, attempts, attempted_at, unknown_at, reason, version FROM trades")
    assert (row["status"], row["attempts"], row["reason"], row["version"]) == ("filled", 1, None, 4)
    assert row["unknown_at"].timestamp() * 1000 == START_MS + 25


def test_attempts_of_an_older_executor_are_void(copying: Tables) -> None:
    copying.execute(0, ExecutorClaimed(owner="old", at=0), ExecutorClaimed(owner="new", at=0), attempted(epoch=0))
    assert copying.row("SELECT status, version FROM trades") == {"status": "pending", "version": 1}
    copying.execute(0, attempted(epoch=1))
    assert copying.row("SELECT status FROM trades")["status"] == "attempted"


def test_attempts_wait_for_their_order(tables: Tables) -> None:
    """The executions may be ahead of the events: nothing is lost, and the position stays before what waits."""
    tables.execute(0, ExecutorClaimed(owner="e", at=0), attempted())
    where = "SELECT notification_id, epoch FROM projection_positions WHERE application_name = 'trade.executions.v1[0]'"
    assert tables.row(where) == {"notification_id": 1, "epoch": 0}
    tables.tell(0, configured("f"), followed("f"), admitted(0, signal()), copied("f", PLACED))
    tables.execute(0)
    assert tables.row("SELECT status FROM trades")["status"] == "attempted"
    assert tables.row(where) == {"notification_id": 2, "epoch": 0}


def test_trade_rollback_on_exception(copying: Tables) -> None:
    """A projector that was overtaken writes nothing."""
    round_ = copying.round(0, ended(PLACED))
    copying.write(round_)
    before = copying.rows("SELECT * FROM trades")
    copying.positions[0] = copying.positions[0].__class__(next_offset=round_.events[0][0])
    with pytest.raises(IntegrityError, match="stands at"):
        copying.write(round_)
    assert copying.rows("SELECT * FROM trades") == before


def test_a_field_that_makes_no_row_is_left_out(copying: Tables) -> None:
    """It can be read as an event, but a leverage, terms, a time or an amount in it are none: the partition goes on without it."""
    late = admitted(0, signal("s-9"), at=10**18)
    broken = [
        b'{"t":"FollowerConfigured.v1","o":"g","v":1,"settings":{"max_leverage":"much"},"config_version":1}',
        b'{"t":"WhaleFollowed.v1","o":"f","v":1,"whale_id":"w","terms":{"sizing":7},"config_version":1}',
        encode_event(late)[1],
        encode_event(ended(PLACED))[1].replace(b'"filled":"0.002"', b'"filled":"some"'),
    ]
    copying.tell(0, admitted(0, signal("s-8"), 1), extra=broken)
    copying.tell(0, ended(PLACED))
    assert [poison.value for _, poison in copying.buried] == broken
    assert copying.row("SELECT status FROM trades") == {"status": "filled"}
    assert [row["signal_key"] for row in copying.rows("SELECT signal_key FROM whale_signals ORDER BY 1")] == ["s-1", "s-8"]
