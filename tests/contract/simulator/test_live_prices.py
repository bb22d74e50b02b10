"""A paper venue on public prices: markets and best prices of another venue (a second simulator) are its own, while they are fresh."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.config import Settings
from engine.exchanges.simulator import Options, Simulator, live
from tests.contract.simulator.clients import admin, client
from tests.contract.simulator.conftest import register
from tests.support import wait_until

SYMBOLS = {"binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT", "bybit": "ETH/USDT:USDT"}


def fresh(paper: Simulator) -> bool:
    """Every venue's markets are open."""
    closed = paper.world.engine.closed
    return len(closed) == 4 and not any(is_closed() for is_closed in closed.values())


@pytest.fixture
async def paper(simulator: Simulator) -> AsyncIterator[Simulator]:
    """A paper venue that follows `simulator`; its own seed would make other books."""
    made = Simulator(Options(seed=99, bybit_async_ms=0))
    register(made)
    await made.start()
    made.follow(Settings(exchange_url=simulator.url), 0.05)
    await wait_until(lambda: fresh(made))
    yield made
    await made.stop()


@pytest.mark.parametrize("exchange", SYMBOLS)
async def test_fills_are_at_the_public_best_price(simulator: Simulator, paper: Simulator, exchange: str) -> None:
    symbol = SYMBOLS[exchange]
    for price in ("50000", "51000.5"):
        await admin(simulator, "/_price", {"symbol": symbol, "price": price, "venue": "bybitlinear" if exchange == "bybit" else exchange})
        async with client(simulator, exchange) as public, client(paper, exchange) as ours:
            real = await public.fetch_order_book(symbol)

            async def followed(real: dict[str, list[list[float]]] = real) -> bool:
                book = await ours.fetch_order_book(symbol)
                return (book["asks"][0], book["bids"][0]) == (real["asks"][0], real["bids"][0])

            await wait_until(followed)
            made = await ours.create_order(symbol, "market", "buy", 0.01)
            order = made if exchange != "bybit" else await ours.fetch_order(made["id"], symbol, {"acknowledged": True})
            assert Decimal(str(order["average"])) == Decimal(str(real["asks"][0][0]))


async def test_markets_are_the_public_ones(simulator: Simulator, paper: Simulator) -> None:
    async with client(simulator, "binance") as public, client(paper, "binance") as ours:
        wanted, found = await public.load_markets(), await ours.load_markets()
    assert {symbol: wanted[symbol]["precision"] for symbol in found} == {symbol: found[symbol]["precision"] for symbol in found}
    assert "BTC/USDT:USDT" in found and "ETH/USDT" in found


async def test_old_prices_are_no_prices(simulator: Simulator, paper: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public venue is gone: orders are refused as on a closed market, and taken again when it is back."""
    monkeypatch.setattr(live, "FRESH_S", 0.3)
    monkeypatch.setattr(live, "RETRY_S", 0.05)
    port = simulator.port
    await simulator.stop()
    closed = paper.world.engine.closed
    await wait_until(lambda: all(is_closed() for is_closed in closed.values()))
    for exchange, words in (("binance", "Market is closed"), ("binanceusdm", "-4131"), ("bybit", "110003")):
        async with client(paper, exchange) as ex:
            with pytest.raises(Exception, match=words):
                await ex.create_order(SYMBOLS[exchange], "market", "buy", 0.01)
    await simulator.start(port=port)
    await wait_until(lambda: fresh(paper))
    async with client(paper, "binance") as ex:
        assert (await ex.create_order("BTC/USDT", "market", "buy", 0.01))["status"] == "closed"


async def test_accounts_outlive_the_paper_venue(simulator: Simulator, paper: Simulator, tmp_path: Path) -> None:
    """Balances, positions, leverage and keys are there again in the next process, before it serves anybody."""
    file = tmp_path / "accounts.json"
    await paper.keep(file)
    for exchange, symbol in (("binance", "BTC/USDT"), ("binanceusdm", "BTC/USDT:USDT"), ("bybit", "ETH/USDT:USDT")):
        async with client(paper, exchange) as ex:
            if symbol.endswith(":USDT"):
                await ex.set_leverage(3, symbol)
            await ex.create_order(symbol, "market", "buy", 0.02)
    before = await admin(paper, "/_accounts")
    await paper.stop()
    assert file.stat().st_mode & 0o777 == 0o600
    again = Simulator(Options(seed=99, bybit_async_ms=0))
    again.follow(Settings(exchange_url=simulator.url), 0.05)
    await again.keep(file)
    await again.start()
    after = await admin(again, "/_accounts")
    async with client(again, "binanceusdm") as ex:
        assert (await ex.fetch_leverage("BTC/USDT:USDT"))["longLeverage"] == 3
        assert await ex.create_order("BTC/USDT:USDT", "market", "sell", 0.02, None, {"reduceOnly": True})
    await again.stop()
    assert _owned(after) == _owned(before)


def _owned(listed: Any) -> list[Any]:
    return [(a["exchange"], a["api_key"], a["balances"], a["positions"]) for a in listed["accounts"]]
