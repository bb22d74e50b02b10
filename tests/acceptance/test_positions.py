"""Lots in Postgres: ordered, held, partly left, closed, drifted, funded; shares of one venue position that stay apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.events import DriftDetected, DustRecorded, EquityRecorded, FundingRecorded, LotAdjustment, WhaleUnfollowed
from engine.domain.messages import PlaceOrder
from projections.ids import user_id, whale_number
from tests.logbook import START_MS, VENUE, VENUE_SYMBOL, admitted, configured, copied, ended, followed, order, signal
from tests.tables import Tables

LOT = "SELECT status, filled, pending, reserved, entry_price, realized, opened_at, closed_at, version FROM positions"
ZERO = Decimal(0)


@pytest.fixture
def following(tables: Tables) -> Tables:
    """Follower f, configured, follows two whales."""
    tables.tell(0, configured("f"), followed("f"), followed("f", "whale-b"))
    return tables


def opened(tables: Tables, signal_id: str, offset: int, **fields: Any) -> PlaceOrder:
    """An open that was filled at the whale's price."""
    placed = order("f", signal_id, **fields)
    tables.tell(0, admitted(0, signal(signal_id), offset), copied("f", placed, signal_id=signal_id), ended(placed))
    return placed


def test_save_new_position(following: Tables) -> None:
    placed = order("f")
    following.tell(0, admitted(0, signal()), copied("f", placed))
    row = following.row(LOT)
    assert (row["status"], row["filled"], row["pending"], row["entry_price"]) == ("pending", ZERO, Decimal("0.002"), None)
    following.tell(0, ended(placed, quantity=Decimal("0.001998"), fee_base=Decimal("0.000002"), average_price=Decimal("60100")))
    row = following.row(LOT)
    assert (row["status"], row["filled"], row["pending"], row["version"]) == ("open", Decimal("0.001998"), ZERO, 2)
    assert row["entry_price"] == (Decimal("0.002") * 60100 / Decimal("0.001998")).quantize(Decimal("1e-12")), "fees in base make it dearer"
    older = following.row("SELECT quantity, side, exchange, symbol, whale_key FROM positions")
    assert older == {"quantity": Decimal("0.001998"), "side": "long", "exchange": VENUE, "symbol": VENUE_SYMBOL, "whale_key": "whale-a"}


def test_get_open_positions_by_user(following: Tables) -> None:
    opened(following, "s-1", 0)
    opened(following, "s-2", 1, symbol="ETH/USDT:USDT")
    following.tell(0, admitted(0, signal("s-3"), 2), copied("f", order("f", "s-3", symbol="SOL/USDT:USDT"), signal_id="s-3"))
    rows = following.query("open_positions", user_id=user_id("f"))
    assert [row["symbol"] for row in rows] == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert following.query("open_positions", user_id=user_id("nobody")) == []


def test_save_updates_existing_position(following: Tables) -> None:
    """Two opens, one partial exit: quantities add up, the entry is the average, the profit is the engine's."""
    opened(following, "s-1", 0)
    opened(following, "s-2", 1, reference_price=Decimal("63000"))
    leaving = order("f", "s-3", side="sell", kind="exit", quantity=Decimal("0.001"), limit_price=None)
    following.tell(0, admitted(0, signal("s-3"), 2), copied("f", leaving, signal_id="s-3"))
    assert following.row(LOT)["reserved"] == Decimal("0.001")
    following.tell(0, ended(leaving, average_price=Decimal("64000"), realized_pnl=Decimal("2.5")))
    row = following.row(LOT)
    assert (row["filled"], row["reserved"], row["entry_price"], row["realized"]) == (Decimal("0.003"), ZERO, Decimal(61500), Decimal("2.5"))
    assert (row["status"], row["closed_at"], row["version"]) == ("open", None, 6)


def test_closed_and_opened_again(following: Tables) -> None:
    opened(following, "s-1", 0)
    leaving = order("f", "s-2", side="sell", kind="exit", limit_price=None)
    following.tell(0, admitted(0, signal("s-2"), 1), copied("f", leaving, signal_id="s-2"), ended(leaving, at=START_MS + 90))
    row = following.row(LOT)
    assert (row["status"], row["filled"]) == ("closed", ZERO)
    assert row["closed_at"].timestamp() * 1000 == START_MS + 90
    again = order("f", "s-3")
    following.tell(
        0, admitted(0, signal("s-3"), 2), copied("f", again, signal_id="s-3", at=START_MS + 200), ended(again, at=START_MS + 300)
    )
    row = following.row(LOT)
    assert (row["status"], row["closed_at"], row["filled"]) == ("open", None, Decimal("0.002"))
    assert row["opened_at"].timestamp() * 1000 == START_MS + 200


def test_closing_one_whale_leaves_the_other(following: Tables) -> None:
    opened(following, "s-1", 0)
    opened(following, "s-2", 1, whale_id="whale-b", quantity=Decimal("0.005"))
    leaving = order("f", "s-3", side="sell", kind="exit", limit_price=None)
    following.tell(0, admitted(0, signal("s-3"), 2), copied("f", leaving, signal_id="s-3"), ended(leaving))
    rows = following.rows("SELECT whale_key, status, filled FROM positions ORDER BY whale_key")
    assert [(row["whale_key"], row["status"], row["filled"]) for row in rows] == [
        ("whale-a", "closed", ZERO),
        ("whale-b", "open", Decimal("0.005")),
    ]


def test_an_unfilled_open_leaves_nothing(following: Tables) -> None:
    placed = order("f")
    nothing = {"status": "missed", "filled": ZERO, "quantity": ZERO, "average_price": None, "fee_quote": ZERO}
    following.tell(0, admitted(0, signal()), copied("f", placed), ended(placed, **nothing))
    row = following.row(LOT)
    assert (row["status"], row["filled"], row["pending"]) == ("closed", ZERO, ZERO)


def test_shadow_orders_fill_at_the_whales_price(following: Tables) -> None:
    """Shadow lots live beside paper lots and never touch them."""
    opened(following, "s-1", 0)
    shadow = order("f", "s-2", mode="shadow", reference_price=Decimal(50000))
    following.tell(0, admitted(0, signal("s-2"), 1), copied("f", shadow, signal_id="s-2"))
    leaving = order("f", "s-3", mode="shadow", side="sell", kind="exit", quantity=Decimal("0.001"), reference_price=Decimal(51000))
    following.tell(0, admitted(0, signal("s-3"), 2), copied("f", leaving, signal_id="s-3"))
    rows = following.rows("SELECT mode, filled, entry_price, realized FROM positions ORDER BY mode")
    assert [tuple(row.values()) for row in rows] == [
        ("paper", Decimal("0.002"), Decimal(60000), ZERO),
        ("shadow", Decimal("0.001"), Decimal(50000), Decimal(1)),
    ]
    assert {row["status"] for row in following.rows("SELECT status FROM trades WHERE mode = 'shadow'")} == {"shadow"}
    sent = following.rows("SELECT signal_key, orders_sent FROM whale_signals ORDER BY signal_key")
    assert [row["orders_sent"] for row in sent] == [1, 0, 0], "shadow orders are not sent"


def test_funding_goes_to_the_lot_of_its_own_account(following: Tables) -> None:
    opened(following, "s-1", 0)
    opened(following, "s-2", 1, mode="live")
    whose: dict[str, Any] = {"originator_id": "f", "originator_version": 9, "venue": VENUE, "venue_symbol": VENUE_SYMBOL, "mode": "paper"}
    following.tell(0, FundingRecorded(**whose, funding_id="1", amount=Decimal("-0.3"), shares={"whale-a": Decimal("-0.3")}))
    rows = following.rows("SELECT mode, funding FROM positions ORDER BY mode")
    assert [tuple(row.values()) for row in rows] == [("live", ZERO), ("paper", Decimal("-0.3"))]


def test_drift_dust_and_funding(following: Tables) -> None:
    opened(following, "s-1", 0)
    where: dict[str, Any] = {
        "originator_id": "f",
        "originator_version": 9,
        "at": START_MS + 99,
        "venue": VENUE,
        "venue_symbol": VENUE_SYMBOL,
    }
    following.tell(
        0, FundingRecorded(**where, funding_id="1", amount=Decimal("-0.3"), shares={"whale-a": Decimal("-0.3"), "whale-z": ZERO})
    )
    shrunk = LotAdjustment("whale-a", "long", Decimal("0.002"), Decimal("0.0005"))
    following.tell(0, DriftDetected(**where, expected=Decimal("0.002"), reported=Decimal("0.0005"), adjustments=(shrunk,)))
    row = following.row("SELECT filled, cost, drift, funding, entry_price FROM positions")
    assert row == {
        "filled": Decimal("0.0005"),
        "cost": Decimal(30),
        "drift": Decimal("0.0015"),
        "funding": Decimal("-0.3"),
        "entry_price": Decimal(60000),
    }
    following.tell(0, DustRecorded(**where, direction="long", whale_id="whale-a", quantity=Decimal("0.0005")))
    row = following.row("SELECT status, filled, dust, version FROM positions")
    assert row == {"status": "closed", "filled": ZERO, "dust": Decimal("0.0005"), "version": 5}


def test_the_memory_of_lots_changes_nothing(following: Tables) -> None:
    """A session that starts in the middle folds on from the rows."""
    opened(following, "s-1", 0)
    following.store.close()
    following.store = type(following.store)(following.dsn, 2, "follower.events.v1", "trade.executions.v1")
    following.store.acquire(range(2))
    opened(following, "s-2", 1, reference_price=Decimal(62000))
    row = following.row("SELECT filled, entry_price, fee_quote, version FROM positions")
    assert row == {"filled": Decimal("0.004"), "entry_price": Decimal(61000), "fee_quote": Decimal("0.12"), "version": 4}


def test_profit_and_equity_curve(following: Tables) -> None:
    opened(following, "s-1", 0)
    for number, equity in enumerate(("1000", "1001.5", "990")):
        reported = START_MS + number * 150_000
        event = EquityRecorded(
            originator_id="f", originator_version=1, at=reported, venue=VENUE, equity=Decimal(equity), available=ZERO, reported_at=reported
        )
        following.tell(0, event)
    assert following.row("SELECT equity, version FROM account_equity") == {"equity": Decimal(990), "version": 3}
    since = datetime.fromtimestamp(START_MS / 1000, UTC) - timedelta(minutes=10)
    points = following.query("equity_points", user_id=user_id("f"), since=since, until=since + timedelta(hours=1), limit=100)
    assert [point["equity"] for point in points] == [Decimal("1001.5"), Decimal(990)], "the last report of every five minutes"
    [profit] = following.query("profit", user_id=user_id("f"))
    assert (profit["whale_key"], profit["fee_quote"], profit["net"]) == ("whale-a", Decimal("0.06"), Decimal("-0.06"))
    assert following.query("accounts", user_id=user_id("f"))[0]["equity"] == Decimal(990)


def test_old_months_go_and_stay_away(following: Tables) -> None:
    """Retention drops whole months; what is told again about them later is left out, newer months are not touched."""
    day = 86_400_000
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    for number, at in enumerate((now_ms - 100 * day, now_ms - 5 * day, now_ms)):
        placed = order("f", f"s-{number}")
        following.tell(0, admitted(0, signal(f"s-{number}"), number), copied("f", placed, signal_id=f"s-{number}", at=at))
    assert following.store.drop_months(6) == []
    [dropped] = following.store.drop_months(2)
    assert dropped.startswith("copy_decisions_")
    assert [row["signal_key"] for row in following.rows("SELECT signal_key FROM copy_decisions ORDER BY 1")] == ["s-1", "s-2"]
    again = order("f", "s-3")
    following.tell(0, admitted(0, signal("s-3"), 3), copied("f", again, signal_id="s-3", at=now_ms - 100 * day))
    assert following.row("SELECT count(*) AS n FROM copy_decisions")["n"] == 2
    assert following.row("SELECT count(*) AS n FROM trades")["n"] == 4, "orders are kept for ever"


def test_active_followers(tables: Tables) -> None:
    """Who copies a whale now: switched on, following, not paused, not unfollowed."""
    tables.tell(
        0,
        *(event for name in ("a", "b", "c", "d", "e") for event in (configured(name, max_leverage=Decimal("3.5")), followed(name))),
        configured("b", copy_trading_enabled=False, config_version=3),
        followed("c", auto_copy_enabled=False, config_version=3),
        configured("d", paused=True, config_version=3),
        WhaleUnfollowed(originator_id="e", originator_version=4, at=START_MS + 1, whale_id="whale-a", config_version=3, request_id="r"),
        followed("a", "whale-b"),
    )
    rows = tables.query("active_followers", whale_id=whale_number("whale-a"))
    assert [(row["follower_key"], row["leverage_limit"], row["trade_size_usdt"]) for row in rows] == [("a", Decimal("3.5"), Decimal(100))]
    e = tables.row(
        "SELECT auto_copy_enabled, unfollowed_at IS NOT NULL AS over, terms, version FROM user_whale_follows WHERE follower_key = 'e'"
    )
    assert e == {"auto_copy_enabled": False, "over": True, "terms": {"trade_size_usdt": "100"}, "version": 2}
    tables.tell(0, followed("e", config_version=4, trade_size_usdt=Decimal(7)))
    rows = tables.query("active_followers", whale_id=whale_number("whale-a"))
    assert sorted(row["follower_key"] for row in rows) == ["a", "e"]
    user = tables.row("SELECT max_leverage, config_version, version, origin FROM users WHERE follower_key = 'b'")
    assert user == {"max_leverage": 1, "config_version": 3, "version": 2, "origin": "log"}
