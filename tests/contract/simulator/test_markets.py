"""Markets: every mapped one is listed, and recorded market records that the simulator serves come back as ccxt recorded them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.symbols import mapped
from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import admin, client, recorded

ONE_REQUEST = {"fetchCurrencies": False, "fetchMargins": False}
NEWER = {"index", "limits.cost.min", "marginModes"}
"""Fields that ccxt 4.5.90 fills in another way than the version that recorded them; margin modes come from a request that is left out."""


async def test_every_mapped_market_is_listed_and_active(simulator: Simulator) -> None:
    for exchange, venues in (("binance", ("binance",)), ("binanceusdm", ("binanceusdm",)), ("bybit", ("bybit", "bybitlinear"))):
        async with client(simulator, exchange) as ex:
            markets = await ex.load_markets()
        for _, venue, listing in mapped():
            if venue in venues:
                market = markets[listing.venue_symbol]
                assert market["active"] and market["limits"]["amount"]["min"] > 0 and market["precision"]["price"] > 0


async def test_with_the_documented_options_markets_take_one_request_at_binance_and_three_at_bybit(simulator: Simulator) -> None:
    for exchange, types, wanted in (("binance", ["spot"], 1), ("binanceusdm", ["linear"], 1), ("bybit", ["spot", "linear"], 3)):
        before = simulator.dispatcher.requests.total()
        async with client(simulator, exchange, fetchMarkets={"types": types}, **ONE_REQUEST) as ex:
            ex.has["fetchCurrencies"] = False
            await ex.load_markets()
        assert simulator.dispatcher.requests.total() - before == wanted


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves of a market by dotted path, numbers as floats."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{path}.{key}" if path else key).items()}
    return {path: float(value) if isinstance(value, int) and not isinstance(value, bool) else value}


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
async def test_recorded_markets_come_back(simulator: Simulator, exchange: str) -> None:
    markets = recorded(f"ccxt-static/markets/{exchange}.json")
    spot, linear = ("binance", "binanceusdm") if exchange == "binance" else ("bybit", "bybitlinear")
    for venue, kind in ((spot, "spot"), (linear, "swap")):
        info = [market["info"] for market in markets.values() if market["type"] == kind]
        assert (await admin(simulator, "/_markets", {"venue": venue, "info": info}))["markets"] == len(info)
    async with client(simulator, exchange, fetchMarkets={"types": ["spot", "linear"]}, **ONE_REQUEST) as ex:
        ex.has["fetchCurrencies"] = False
        ours = await ex.load_markets()
    assert set(ours) == set(markets)
    for symbol, market in markets.items():
        was, now = flat({k: v for k, v in market.items() if k != "info"}), flat(ours[symbol])
        differ = {key: (value, now.get(key)) for key, value in was.items() if now.get(key) != value}
        assert {key: pair for key, pair in differ.items() if not any(key.startswith(word) for word in NEWER)} == {}, symbol


async def test_a_record_that_is_no_market_is_refused(simulator: Simulator) -> None:
    with pytest.raises(AssertionError, match="market record of binance: KeyError"):
        await admin(simulator, "/_markets", {"venue": "binance", "info": [{"symbol": "X"}]})
