"""A follower in mode shadow beside one that trades: `remora shadow diff` tells what would have been different."""

from __future__ import annotations

from decimal import Decimal

from engine.domain.values import FollowerSettings, FollowTerms, Limits
from ops.shadow import Options, shadow_diff
from tests.acceptance.system.whales import SETTINGS, TERMS, new_whale
from tests.support import wait_until
from tests.system import System

SHADOW = FollowerSettings(preferred_exchange="binanceusdm", mode="shadow", limits=Limits(max_deviation_bps=Decimal(5000)))
DOUBLE = FollowTerms(sizing="fixed_quote", trade_size_usdt=Decimal(600), start_mode="now")


async def test_a_shadow_beside_one_that_trades(system: System) -> None:
    whale = new_whale(system)
    same, twice = await whale.gets_follower(settings=SHADOW), await whale.gets_follower(settings=SHADOW, terms=DOUBLE)
    real = await whale.gets_follower(settings=SETTINGS, terms=TERMS)
    signal = whale.trade(1)
    await whale.publish(signal)
    await system.signal_when(signal.signal_id, "PROCESSED")

    def beside(follower: str) -> dict[str, object]:
        return shadow_diff(system.settings, Options(follower=follower, against=real, price_bps=Decimal(500)))

    await wait_until(lambda: beside(same)["summary"]["compared"] == 1)  # type: ignore[index]
    assert beside(same)["differences"] == []
    [row] = beside(twice)["differences"]  # type: ignore[misc]
    assert (row["verdict"], row["size_percent"], row["shadow_quantity"]) == ("size", -50, Decimal("0.2"))
