"""Folding a log puts off equity reports that a later one replaces; what comes out is what folding one by one gives.

The fixture's check folds every story lazily and holds the digest against the live state; these are the stories where it matters.
"""

from __future__ import annotations

from engine.domain.messages import ConfigureFollower, PlaceOrder
from engine.domain.shard import commands_of
from engine.domain.values import FollowerSettings
from tests.given import Shard, d


def opened(shard: Shard) -> PlaceOrder:
    """The whale opens and the follower's order fills."""
    [order] = [command for event in shard.signal("open", "buy") for command in commands_of(event)]
    assert isinstance(order, PlaceOrder)
    shard.settle(order)
    return order


def test_the_newest_report_counts_while_a_lot_is_open(shard: Shard) -> None:
    follower = shard.follower()
    shard.equity(1000)
    opened(shard)
    for amount in (1010, 1020, 990):
        shard.equity(amount)
    assert (follower.equity, follower.capital) == (d(990), d(1000))


def test_a_report_that_was_put_off_stands_when_the_follower_is_configured(shard: Shard) -> None:
    follower = shard.follower()
    shard.equity(1000)
    opened(shard)
    shard.equity(1010)
    settings = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(3))
    shard.send(ConfigureFollower(request_id=shard.request_id(), follower_id="f1", settings=settings))
    assert follower.equity == d(1010)


def test_a_report_that_was_put_off_is_forgotten_with_the_exchange_that_it_spoke_of(shard: Shard) -> None:
    follower = shard.follower()
    shard.equity(1000)
    opened(shard)
    shard.equity(1010)
    settings = FollowerSettings(preferred_exchange="bybitlinear", max_leverage=d(3))
    shard.send(ConfigureFollower(request_id=shard.request_id(), follower_id="f1", settings=settings))
    assert follower.equity is None
    shard.equity(500, venue="bybitlinear")
    assert (follower.equity, follower.capital) == (d(500), d(500))


def test_a_transfer_is_seen_once_the_follower_is_flat(shard: Shard) -> None:
    follower = shard.follower()
    shard.equity(1000)
    opened(shard)
    shard.equity(1010)
    [order] = [command for event in shard.signal("close", "sell") for command in commands_of(event)]
    assert isinstance(order, PlaceOrder)
    shard.settle(order)
    shard.equity(1500)
    assert follower.capital == d(1500) - follower.pnl
