"""Where the domain and the naive model meet: markets, followers' settings and terms, and ways in which a whale's trade is told."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec.structs import replace

from engine.domain.messages import OrderSettled, PlaceOrder
from engine.domain.values import FollowerSettings, FollowTerms, Limits, MarketRules, Signal
from tests.given import BTC, BTC_PERP, ETH, rules
from tests.properties.naive.lots import Rules

D = Decimal
ETH_PERP, SECOND_BTC, UNKNOWN = "ETH/USDT:USDT", BTC_PERP, "NOPE/USDC:USDC"
SYMBOLS = {
    BTC: {"binanceusdm": BTC_PERP, "bybitlinear": BTC_PERP, "binance": "BTC/USDT"},
    SECOND_BTC: {"binanceusdm": BTC_PERP, "bybitlinear": BTC_PERP, "binance": "BTC/USDT"},
    ETH: {"binanceusdm": ETH_PERP, "bybitlinear": ETH_PERP, "binance": "ETH/USDT"},
}
"""What whales' symbols are called at the venues; of ETH only one has rules."""
MARKETS = (
    rules("binanceusdm", BTC_PERP),
    rules("binanceusdm", ETH_PERP, max_quantity=D("0.04"), min_quantity=D("0.003")),
    rules("bybitlinear", BTC_PERP, step=D("0.002"), max_leverage=D(3)),
    rules("binance", "BTC/USDT"),
)
NAMES, WHALES = ("f1", "f2", "f3", "f4"), ("w1", "w2")
USDM = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=D(5))
SETTINGS = {
    "plain": USDM,
    "capped": replace(USDM, limits=Limits(max_position_quote=D(180), max_exposure_quote=D(250))),
    "one market": replace(USDM, limits=Limits(max_open_positions=1, cooldown_ms=3, daily_loss_quote=D("3.7"))),
    "losing": replace(USDM, limits=Limits(daily_loss_quote=D("3.7"))),
    "drawdown": replace(USDM, limits=Limits(max_drawdown_percent=D("0.9"), max_staleness_ms=4000)),
    "near": replace(USDM, max_leverage=D(2), limits=Limits(max_deviation_bps=D(50))),
    "off": replace(USDM, copy_trading_enabled=False),
    "paused": replace(USDM, paused=True),
    "live": replace(USDM, mode="live"),
    "shadow": replace(USDM, mode="shadow"),
    "bybit": FollowerSettings(preferred_exchange="bybitlinear", max_leverage=D(20)),
    "spot": FollowerSettings(preferred_exchange="binance"),
}
FIXED = FollowTerms(start_mode="now", trade_size_usdt=D(100))
TERMS = {
    "fixed": FIXED,
    "odd": replace(FIXED, trade_size_usdt=D("33.3335"), min_size_policy="round_up"),
    "collecting": replace(FIXED, trade_size_usdt=D("4.37"), min_size_policy="accumulate"),
    "rounded up": replace(FIXED, trade_size_usdt=D(4), min_size_policy="round_up"),
    "too small": replace(FIXED, trade_size_usdt=D(4)),
    "capped": replace(FIXED, trade_size_usdt=D(90), limits=Limits(max_position_quote=D(95), max_exposure_quote=D(170))),
    "multiplied": replace(FIXED, sizing="multiplier", multiplier=D("0.05"), limits=Limits(max_open_positions=1, cooldown_ms=1500)),
    "divided": replace(FIXED, sizing="multiplier", multiplier=D("0.0031"), min_size_policy="accumulate"),
    "percent": replace(FIXED, sizing="percent_equity", trade_size_percent=D(5), limits=Limits(max_drawdown_percent=D("0.4"))),
    "proportional": replace(FIXED, sizing="proportional_equity", limits=Limits(daily_loss_quote=D("2.3"))),
    "until flat": FollowTerms(trade_size_usdt=D(60)),
    "no exits": replace(FIXED, copy_exits=False),
    "by hand": replace(FIXED, auto_copy_enabled=False),
    "half": replace(FIXED, rollout_percent=50, symbols_denied=(ETH_PERP,)),
    "choosy": replace(FIXED, symbols_allowed=(SECOND_BTC,), trade_types_allowed=("futures",)),
}
SIGNALS: dict[str, dict[str, Any]] = {
    "plain": {},
    "high": {"priority": "high"},
    "low": {"priority": "low"},
    "5 s old": {"age": 5000, "priority": "high"},
    "overdue": {"age": 70_000},
    "short life": {"life": 2000},
    "blind": {"blind": True},
    "after a gap": {"unseen": D("0.7")},
    "levered": {"leverage": D(3), "whale_equity": D(5000)},
    "without equity": {"whale_equity": None},
    "order": {"order": "o"},
    "ETH": {"symbol": ETH},
    "ETH order": {"symbol": ETH, "order": "e", "priority": "low"},
    "second BTC": {"symbol": SECOND_BTC},
    "unknown": {"symbol": UNKNOWN, "trade_type": "spot"},
}


def plain(market: MarketRules) -> Rules:
    """A market's rules as the model knows them."""
    most = None if market.max_quantity is None else Fraction(market.max_quantity)
    numbers = (market.step, market.tick, market.min_quantity)
    step, tick, least = (Fraction(number) for number in numbers)
    return Rules(step, tick, least, most, Fraction(market.min_notional), Fraction(market.max_leverage))


def position_after(before: Decimal, move: str, long: bool) -> Decimal:
    """Where a whale's move leads; one that has no position begins one."""
    shrunk = {"third": before * 2 / 3, "half": before / 2, "most": before / 4, "close": D(0), "flip": -before}
    if before and move in shrunk:
        return shrunk[move].quantize(D("0.0001"))
    return before + (D("0.3") if move == "little" else D(3)) * (1 if (before > 0 if before else long) else -1)


def trade(number: int, pair: tuple[str, str], moved: tuple[Decimal, Decimal], price: Decimal, telling: str, now: int) -> Signal:
    """A whale's trade, told in one of the ways."""
    how, (before, after) = SIGNALS[telling], moved
    action = "open" if not before else "close" if not after else "flip" if before * after < 0 else "reduce"
    action = "increase" if before and before * after > before * before else action
    blind = "blind" in how and action not in ("reduce", "flip")
    return Signal(
        signal_id=f"s{number}",
        whale_id=pair[0],
        symbol=pair[1],
        trade_type=how.get("trade_type", "futures"),
        action=action,  # type: ignore[arg-type]
        side="buy" if after > before else "sell",
        quantity=abs(after - before),
        price=price,
        whale_order_id=f"{how['order']}{number // 12}" if "order" in how else None,
        position_before=None if blind else before,
        position_after=None if blind else after,
        whale_equity=how.get("whale_equity", D(20_000)),
        leverage=how.get("leverage"),
        priority=how.get("priority", "medium"),
        detected_at=now - how.get("age", 0),
        expires_at=now + how["life"] if "life" in how else None,
    )


def end_of(order: PlaceOrder, part: int, price: Decimal, epoch: int, now: int) -> OrderSettled:
    """An order ends: not at all (0), by half (1), completely (2), completely and with fees (3)."""
    filled = order.quantity if part > 1 else (order.quantity * part / 2) // D("0.001") * D("0.001")
    return OrderSettled(
        epoch=epoch,
        seq=1,
        command_id=order.command_id,
        follower_id=order.follower_id,
        status="filled" if filled == order.quantity else "partial" if filled else "rejected",
        filled=filled,
        average_price=price if filled else None,
        fee_base=filled / 1000 if part == 3 and order.kind == "open" and order.venue == "binance" else D(0),
        fee_quote=D("0.07") if part == 3 else D(0),
        settled_at=now,
    )
