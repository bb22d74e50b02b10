"""Everything else that ccxt can ask of a trading account here parses: tickers, trades, candles, funding, leverage, fees, history."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ccxt.base.errors import ExchangeError

from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import admin, client, signed

SYMBOL = "BTC/USDT:USDT"
PUBLIC: list[tuple[str, tuple[Any, ...]]] = [
    ("fetch_tickers", ()),
    ("fetch_trades", ()),
    ("fetch_ohlcv", ()),
    ("fetch_funding_rate", ()),
    ("fetch_funding_rate_history", ()),
    ("fetch_market_leverage_tiers", ()),
    ("fetch_last_prices", ()),
    ("fetch_bids_asks", ()),
    ("fetch_open_interest", ()),
    ("fetch_funding_interval", ()),
    ("fetch_mark_ohlcv", ()),
    ("fetch_index_ohlcv", ()),
]
UNKNOWN_HERE = {"bybit": {"fetch_last_prices", "fetch_funding_interval"}, "binance": set[str]()}


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
@pytest.mark.parametrize("call", [name for name, _ in PUBLIC])
async def test_market_data(simulator: Simulator, exchange: str, call: str) -> None:
    if call in UNKNOWN_HERE[exchange]:
        return
    async with client(simulator, exchange) as ex:
        await ex.load_markets()
        many = call in ("fetch_tickers", "fetch_last_prices", "fetch_bids_asks")
        assert await getattr(ex, call)([SYMBOL] if many else SYMBOL)
        if call in ("fetch_trades", "fetch_ohlcv"):
            assert await getattr(ex, call)("BTC/USDT")


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
async def test_account_history(simulator: Simulator, exchange: str) -> None:
    async with client(simulator, exchange) as ex:
        await ex.create_order(SYMBOL, "market", "buy", 0.1)
        await ex.create_order(SYMBOL, "market", "sell", 0.1, None, {"reduceOnly": True})
        assert (await ex.fetch_trading_fee(SYMBOL))["taker"] > 0
        assert (await ex.fetch_trading_fee("BTC/USDT"))["taker"] == 0.001
        if exchange == "bybit":
            (closed,) = await ex.fetch_positions_history([SYMBOL])
            assert closed["realizedPnl"] < 0
            made = [await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000) for _ in range(2)]
            changes = [{"id": m["id"], "symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.2, "price": 41000} for m in made]
            await ex.edit_orders(changes)
            assert {order["price"] for order in await ex.fetch_open_orders(SYMBOL)} == {41000}
        else:
            rows = await ex.fapiprivate_get_income({"symbol": "BTCUSDT"})
            assert [row["incomeType"] for row in rows] == ["COMMISSION", "REALIZED_PNL", "COMMISSION"]
            assert await ex.fetch_my_liquidations(SYMBOL) == []


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/v5/position/list", {"category": "linear"}, 10001),
        ("/v5/position/list", {"category": "spot"}, 10001),
        ("/v5/order/realtime", {"category": "linear"}, 10001),
        ("/v5/order/history", {"category": "linear", "cursor": "x"}, 10001),
        ("/v5/market/instruments-info", {"category": "stocks"}, 10001),
        ("/v5/market/tickers", {}, 10001),
        ("/v5/execution/list", {"category": "linear", "limit": "many"}, 10001),
        ("/v5/account/info", {}, 0),
    ],
)
async def test_bybit_names_what_is_wrong(simulator: Simulator, path: str, params: dict[str, str], code: int) -> None:
    _, reply = await signed(simulator, "GET", path, params)
    assert reply["retCode"] == code


async def test_pages_of_bybit_lists(simulator: Simulator) -> None:
    for number in range(3):
        order = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Market",
            "qty": "0.01",
            "orderLinkId": f"n{number}",
        }
        await signed(simulator, "POST", "/v5/order/create", order)
    _, first = await signed(simulator, "GET", "/v5/order/history", {"category": "linear", "limit": "2"})
    cursor = first["result"]["nextPageCursor"].replace("%3A", ":")
    _, rest = await signed(simulator, "GET", "/v5/order/history", {"category": "linear", "limit": "2", "cursor": cursor})
    links = [row["orderLinkId"] for reply in (first, rest) for row in reply["result"]["list"]]
    assert links == ["n2", "n1", "n0"] and rest["result"]["nextPageCursor"] == ""


async def test_a_set_leverage_and_margin_batch(simulator: Simulator) -> None:
    async with client(simulator, "binance") as ex:
        await ex.set_leverage(9, SYMBOL)
        assert (await ex.fetch_leverage(SYMBOL))["longLeverage"] == 9
        await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000)
        with pytest.raises(Exception, match="exists open orders"):
            await ex.set_margin_mode("isolated", SYMBOL)
        with pytest.raises(Exception, match="exists open orders"):
            await ex.set_position_mode(True, SYMBOL)
        await ex.cancel_all_orders(SYMBOL)
        await ex.create_order(SYMBOL, "market", "buy", 0.1)
        with pytest.raises(Exception, match="exists position"):
            await ex.set_margin_mode("isolated", SYMBOL)
        with pytest.raises(Exception, match="exists position"):
            await ex.set_position_mode(True, SYMBOL)
        await ex.set_margin_mode("isolated", "ETH/USDT:USDT")
        assert (await ex.fetch_margin_mode("ETH/USDT:USDT"))["marginMode"] == "isolated"
    async with client(simulator, "bybit") as ex:
        await ex.set_margin_mode("isolated", SYMBOL)
        with pytest.raises(Exception, match="110026"):
            await ex.set_margin_mode("isolated", SYMBOL)
        with pytest.raises(Exception, match="110013"):
            await ex.set_leverage(101, SYMBOL)
        await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000)
        with pytest.raises(Exception, match="110028"):
            await ex.set_position_mode(True, SYMBOL)
        await ex.create_order(SYMBOL, "market", "buy", 0.1)
        with pytest.raises(Exception, match="110024"):
            await ex.set_position_mode(True, SYMBOL)
        assert (await ex.fetch_leverage(SYMBOL))["longLeverage"] == 10


async def test_many_futures_orders_are_changed_in_one_request(simulator: Simulator) -> None:
    """Each on its own: one that does not exist does not keep the others from being changed."""
    async with client(simulator, "binance") as ex:
        made = [await ex.create_order(SYMBOL, "limit", "buy", 0.1, 40000) for _ in range(2)]
        ids = [made[0]["id"], "1", made[1]["id"]]
        change = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.2, "price": 41000}
        replies = await ex.edit_orders([change | {"id": number} for number in ids])
        found = {order["id"]: (order["amount"], order["price"]) for order in await ex.fetch_open_orders(SYMBOL)}
    assert found == {made[0]["id"]: (0.2, 41000), made[1]["id"]: (0.2, 41000)}
    assert [reply["id"] for reply in replies if reply["id"]] == [made[0]["id"], made[1]["id"]]


async def test_wallets_and_status_beside_trading(simulator: Simulator) -> None:
    async with client(simulator, "binance") as ex:
        assert (await ex.fetch_balance({"type": "funding"}))["total"] == {}
        assert (await ex.fetch_status())["status"] == "ok"


async def test_bybit_closes_a_whole_position_by_a_quantity_of_zero(simulator: Simulator) -> None:
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0", "reduceOnly": True}
    async with client(simulator, "bybit") as ex:
        await ex.create_order(SYMBOL, "market", "buy", 0.123)
        assert (await signed(simulator, "POST", "/v5/order/create", order))[1]["retCode"] == 0
        assert [p for p in await ex.fetch_positions([SYMBOL]) if p["contracts"]] == []
    assert (await signed(simulator, "POST", "/v5/order/create", order))[1]["retCode"] == 110017
    assert (await signed(simulator, "POST", "/v5/order/create", order | {"reduceOnly": False}))[1]["retCode"] == 10001


async def test_bybit_executions_by_id_are_found_at_any_age(simulator: Simulator) -> None:
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.1", "orderLinkId": "old"}
    await signed(simulator, "POST", "/v5/order/create", order)
    await admin(simulator, "/_clock", {"offset_ms": 30 * 86_400_000})
    later = int(time.time() * 1000) + 30 * 86_400_000
    for query, rows in (({"orderLinkId": "old"}, 1), ({"symbol": "BTCUSDT"}, 0), ({"startTime": str(later - 40 * 86_400_000)}, 0)):
        _, reply = await signed(simulator, "GET", "/v5/execution/list", {"category": "linear"} | query, timestamp=later)
        assert len(reply["result"]["list"]) == rows, query


async def test_pages_of_binance_trades(simulator: Simulator) -> None:
    """From an id on, or since a time: oldest first; else the newest."""
    for exchange, symbol in (("binance", "BTC/USDT"), ("binanceusdm", SYMBOL)):
        async with client(simulator, exchange) as ex:
            for _ in range(5):
                await ex.create_order(symbol, "market", "buy", 0.01)
            every = [trade["id"] for trade in await ex.fetch_my_trades(symbol)]
            assert [trade["id"] for trade in await ex.fetch_my_trades(symbol, None, 2)] == every[-2:]
            assert [trade["id"] for trade in await ex.fetch_my_trades(symbol, None, 2, {"fromId": every[1]})] == every[1:3]
            pages = await ex.fetch_my_trades(symbol, ex.milliseconds() - 60_000, 2)
            assert [trade["id"] for trade in pages] == every[:2]
            with pytest.raises(ExchangeError, match=r"-1127|-4165"):
                await ex.fetch_my_trades(symbol, 1, 2, {"endTime": ex.milliseconds()})


async def test_less_used_ways_of_binance(simulator: Simulator) -> None:
    """Smart order routing, rolling tickers, ranks of auto-deleveraging."""
    async with client(simulator, "binance") as ex:
        routed = await ex.create_order("BTC/USDT", "market", "buy", 0.01, None, {"sor": True})
        assert (routed["status"], routed["info"]["usedSor"], routed["info"]["fills"][0]["allocId"]) == ("closed", True, 0)
        assert (await ex.create_order("BTC/USDT", "limit", "buy", 0.01, 40000, {"sor": True, "test": True}))["info"] == {}
        with pytest.raises(ExchangeError, match="-1116"):
            await ex.create_order("BTC/USDT", "market", "sell", 0.01, None, {"sor": True, "stopLossPrice": 50000})
        assert (await ex.fetch_ticker("BTC/USDT", {"rolling": True}))["last"] > 0
        assert set(await ex.fetch_tickers(["BTC/USDT", "ETH/USDT"], {"rolling": True})) == {"BTC/USDT", "ETH/USDT"}
        await ex.create_order(SYMBOL, "market", "buy", 0.01)
        assert [row["rank"] for row in await ex.fetch_positions_adl_rank([SYMBOL])] == [2]
        assert (await ex.fetch_adl_rank(SYMBOL))["rating"] == "low"


@pytest.mark.parametrize("call", ["fetch_status", "fetch_trading_fees", "fetch_open_interest_history", "fetch_long_short_ratio_history"])
@pytest.mark.parametrize("exchange", ["binance", "bybit"])
async def test_statistics_and_status(simulator: Simulator, exchange: str, call: str) -> None:
    async with client(simulator, exchange) as ex:
        assert await getattr(ex, call)(*((SYMBOL, "1h") if call.endswith("history") else ()))
