"""Funding end to end: the venue settles a market, the follower's lot and its row show what was paid, to the last digit and once."""

from __future__ import annotations

from decimal import Decimal

import aiohttp

from tests.acceptance.system.whales import new_whale
from tests.support import wait_until
from tests.system import System

COIN, MARKET = "AAVE/USDC:USDC", "AAVE/USDT:USDT"
LOT = "SELECT funding, filled FROM positions WHERE follower_key = %(follower)s AND filled > 0"


async def test_what_the_venue_settles_is_the_lots(system: System) -> None:
    whale = new_whale(system)
    follower = await whale.gets_follower()
    signal = whale.trade(2, symbol=COIN, price=Decimal(270))
    await whale.publish(signal)
    await system.signal_when(signal.signal_id, "PROCESSED")
    rates = (Decimal("0.001"), Decimal("-0.0004"), Decimal("0.0001"))
    async with aiohttp.ClientSession(system.simulator_url) as session:
        async with session.get("/_price?venue=binanceusdm") as answer:
            mark = Decimal((await answer.json())["binanceusdm"][MARKET])
        for rate in rates:
            async with session.post("/_funding", json={"venue": "binanceusdm", "symbol": MARKET, "rate": str(rate)}) as answer:
                assert (await answer.json())["settled"] == 1
    (lot,) = await wait_until(lambda: system.rows(LOT, follower=follower), what="the lot's row")
    paid = sum(-(lot["filled"] * mark * rate).quantize(Decimal("1e-8")) for rate in rates)

    def told() -> bool:
        return bool(system.rows(LOT, follower=follower)[0]["funding"] == paid)

    await wait_until(told, 30.0, f"funding of {paid} on the lot")
