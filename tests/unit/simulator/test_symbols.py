"""The symbol table: factors, sources, gaps."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.domain.symbols import VENUES, Listing, lookup, mapped

RECORDED = (
    "KBONK PUMP HYPE ACE ONDO WLD BCH KAITO LIT GRAM RESOLV VIRTUAL FARTCOIN ZEC AERO ENA UNI XPL LTC 0G PENDLE POPCAT JTO ETHFI MERL BTC"
)


@pytest.mark.parametrize("coin", [*RECORDED.split(), "CASHCAT", "ETH", "SOL", "KPEPE", "KSHIB", "KFLOKI", "KLUNC", "KNEIRO", "KDOGS"])
def test_every_recorded_coin_is_listed_somewhere(coin: str) -> None:
    assert any(lookup(f"{coin}/USDC:USDC", venue) for venue in VENUES)


def test_thousand_coins_are_the_same_contract_on_futures_and_single_coins_on_spot() -> None:
    assert lookup("KBONK/USDC:USDC", "binanceusdm") == Listing("1000BONK/USDT:USDT", Decimal(1), Decimal(1))
    assert lookup("KBONK/USDC:USDC", "binance") == Listing("BONK/USDT", Decimal(1000), Decimal("0.001"))
    assert lookup("BONK/USDT", "bybitlinear") == Listing("1000BONK/USDT:USDT", Decimal("0.001"), Decimal(1000))
    assert lookup("BONK/USDT", "bybit") == Listing("BONK/USDT", Decimal(1), Decimal(1))


def test_other_sources_map_to_the_same_markets() -> None:
    for source in ("BTC/USDC:USDC", "BTC/USDT:USDT", "BTC/USDT"):
        assert lookup(source, "binance") == Listing("BTC/USDT", Decimal(1), Decimal(1))
        assert lookup(source, "bybitlinear") == Listing("BTC/USDT:USDT", Decimal(1), Decimal(1))


@pytest.mark.parametrize("symbol", ["XYZ-CL/USDC:USDC", "BONK/USDC:USDC", "KBONK/USDT:USDT", "BTC/EUR", "", "NOBODY/USDT"])
def test_nothing_is_guessed(symbol: str) -> None:
    assert all(lookup(symbol, venue) is None for venue in VENUES)


def test_a_coin_without_a_market_on_a_venue_is_not_mapped_there() -> None:
    assert lookup("CASHCAT/USDC:USDC", "binance") is None
    assert lookup("GRAM/USDC:USDC", "binanceusdm") is None
    assert lookup("BTC/USDC:USDC", "kraken") is None


def test_quote_amounts_are_the_same_on_both_sides() -> None:
    assert all(listing.quantity_factor * listing.price_factor == 1 for _, _, listing in mapped())
