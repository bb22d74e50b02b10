"""Decisions and folds do not depend on what other code of the process has made of its Decimal context (ccxt changes the rounding)."""

from __future__ import annotations

from decimal import ROUND_UP, Context, localcontext

from engine.domain.messages import PlaceOrder
from engine.domain.replay import Folding, decode_lean
from engine.domain.shard import commands_of, evolve, state_digest
from tests.given import ENCODER, Shard, d


def story() -> tuple[list[bytes], Shard]:
    """Thirds everywhere: sizes by percent of equity, a partial exit, profit of a part."""
    shard = Shard()
    shard.follower(sizing="percent_equity", trade_size_percent=d("33.3"), trade_size_usdt=None)
    shard.equity("1000.123456789")
    for action, side, quantity, price in (("open", "buy", 3, "1007"), ("reduce", "sell", 1, "1013"), ("increase", "buy", 7, "1009")):
        orders = [order for event in shard.signal(action, side, quantity, price) for order in commands_of(event)]
        for order in orders:
            assert isinstance(order, PlaceOrder)
            shard.settle(order, order.quantity, price, fee_quote=d("0.01234567891234"))
        shard.equity("999.987654321")
    return [ENCODER.encode(event) for event in shard.events], shard


def test_the_same_bytes_and_the_same_state_under_a_foreign_context() -> None:
    events, shard = story()
    with localcontext(Context(prec=9, rounding=ROUND_UP)):
        again, other = story()
        assert state_digest(other.state) == state_digest(shard.state)
    assert again == events


def test_a_replay_under_a_foreign_context() -> None:
    _, shard = story()
    assert len(shard.state.followers["f1"].pnl.as_tuple().digits) > 9, "the story has digits to lose"
    replayed = shard.fresh()
    with localcontext(Context(prec=9, rounding=ROUND_UP)):
        folding = Folding(replayed, decode_lean)
        folding.fold((0, event.originator_id.encode(), ENCODER.encode(event), 0) for event in shard.events)
        folding.finish()
    replayed.now, replayed.sources = shard.state.now, dict(shard.state.sources)
    assert state_digest(replayed) == state_digest(shard.state)


def test_folding_one_by_one_under_a_foreign_context() -> None:
    _, shard = story()
    replayed = shard.fresh()
    with localcontext(Context(prec=9, rounding=ROUND_UP)):
        for event in shard.events:
            evolve(replayed, event)
    replayed.now, replayed.sources = shard.state.now, dict(shard.state.sources)
    assert state_digest(replayed) == state_digest(shard.state)
