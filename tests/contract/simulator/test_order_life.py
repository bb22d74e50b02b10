"""A whole order life at every venue through ccxt: leverage, open, query by client id, trades, position, reduce, rest, cancel, ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ccxt.base.errors import ExchangeError, InsufficientFunds, InvalidOrder, OperationRejected, OrderNotFound

from engine.exchanges.simulator import Simulator
from tests.contract.simulator.clients import KEY, SECRET, admin, client, entry, signed

VENUES = {
    "binance": ("binance", "BTC/USDT"),
    "binanceusdm": ("binanceusdm", "BTC/USDT:USDT"),
    "bybit": ("bybit", "BTC/USDT"),
    "bybitlinear": ("bybit", "BTC/USDT:USDT"),
}
both = pytest.mark.parametrize("venue", VENUES)


async def find(ex: Any, symbol: str, client_id: str) -> dict[str, Any]:
    """The order of a client id, the way that works at each exchange."""
    if ex.id != "bybit":
        return dict(await ex.fetch_order(None, symbol, {"origClientOrderId": client_id}))
    query = {"category": "spot" if ":" not in symbol else "linear", "orderLinkId": client_id}
    for call in (ex.private_get_v5_order_realtime, ex.private_get_v5_order_history):
        rows = (await call(query))["result"]["list"]
        if rows:
            return dict(ex.parse_order(rows[0], ex.market(symbol)))
    raise OrderNotFound(client_id)


@both
async def test_open_query_reduce_and_rest(simulator: Simulator, venue: str) -> None:
    exchange, symbol = VENUES[venue]
    perpetual = ":" in symbol
    async with client(simulator, exchange) as ex:
        await ex.load_markets()
        if perpetual:
            await ex.set_leverage(7, symbol)
        made = await ex.create_order(symbol, "market", "buy", "0.1", None, {"clientOrderId": "a1"})
        assert made["id"] and made["clientOrderId"] == "a1"
        order = await find(ex, symbol, "a1")
        assert (order["status"], order["filled"], order["id"]) == ("closed", 0.1, made["id"])
        trades = await ex.fetch_my_trades(symbol)
        assert sum(t["amount"] for t in trades) == pytest.approx(0.1)
        assert {t["order"] for t in trades} == {made["id"]}
        if perpetual:
            (position,) = await ex.fetch_positions([symbol])
            assert (position["side"], position["contracts"]) == ("long", 0.1)
        reduce = {"reduceOnly": True} if perpetual else {}
        await ex.create_order(symbol, "market", "sell", "0.06", None, {"clientOrderId": "a2"} | reduce)
        await rest_and_cancel(ex, symbol)
    truth = await entry(simulator, "a1")
    assert (truth["executions"], truth["executed"], truth["status"], truth["venue"]) == (1, "0.1", "FILLED", venue)
    assert Decimal(truth["quote"]) == sum(Decimal(str(t["info"].get("quoteQty") or t["info"].get("execValue"))) for t in trades)


async def rest_and_cancel(ex: Any, symbol: str) -> None:
    """A limit order far below rests, is listed, and is cancelled by its client id."""
    rested = await ex.create_order(symbol, "limit", "buy", "0.01", "40000", {"clientOrderId": "rest1"})
    (listed,) = await ex.fetch_open_orders(symbol)
    assert (listed["id"], listed["status"], listed["clientOrderId"]) == (rested["id"], "open", "rest1")
    by_link = {"orderLinkId": "rest1"} if ex.id == "bybit" else {"origClientOrderId": "rest1"}
    await ex.cancel_order(None if ex.id == "bybit" else "", symbol, by_link)
    assert await ex.fetch_open_orders(symbol) == []
    assert (await find(ex, symbol, "rest1"))["status"] == "canceled"


@both
async def test_balances_positions_and_fees_are_exact(simulator: Simulator, venue: str) -> None:
    exchange, symbol = VENUES[venue]
    async with client(simulator, exchange) as ex:
        await ex.create_order(symbol, "market", "buy", "0.1", None, {"clientOrderId": "b1"})
    truth = await entry(simulator, "b1")
    (account,) = [a for a in (await admin(simulator, f"/_accounts?api_key={KEY}"))["accounts"] if a["exchange"] == exchange]
    quote, usdt = Decimal(truth["quote"]), Decimal(account["balances"]["USDT"]["total"])
    if ":" in symbol:
        rate = Decimal("0.0005") if exchange == "binanceusdm" else Decimal("0.00055")
        assert Decimal(truth["fees"]["USDT"]) == quote * rate
        assert usdt == Decimal(1_000_000) - quote * rate
        assert account["positions"][0]["quantity"] == "0.1"
    else:
        assert truth["fees"] == {"BTC": "0.0001"}
        assert usdt == Decimal(1_000_000) - quote
        assert account["balances"]["BTC"]["total"] == "0.0999"


@both
async def test_a_limit_beyond_the_book_fills_what_is_there_and_expires(simulator: Simulator, venue: str) -> None:
    exchange, symbol = VENUES[venue]
    async with client(simulator, exchange) as ex:
        asks = (await ex.fetch_order_book(symbol))["asks"]
        wanted = round(asks[0][1] + asks[1][1] + 1, 2)
        params = {"clientOrderId": "c1", "timeInForce": "IOC"}
        await ex.create_order(symbol, "limit", "buy", wanted, asks[1][0], params)
        order = await find(ex, symbol, "c1")
    assert order["filled"] == pytest.approx(asks[0][1] + asks[1][1])
    assert order["status"] in ("expired", "canceled", "closed")
    truth = await entry(simulator, "c1")
    assert (truth["executions"], truth["status"]) == (1, "EXPIRED")


@pytest.mark.parametrize(("venue", "path"), [("binance", "/api/v3/order"), ("binanceusdm", "/fapi/v1/order")])
async def test_market_order_out_of_liquidity_expires_with_fills(simulator: Simulator, venue: str, path: str) -> None:
    simulator.world.registry.register({"venue": venue, "api_key": "rich", "secret": "s", "usdt": "1000000000"})
    book = simulator.world.prices.book(simulator.world.markets[venue]["ETHUSDT"])
    order = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "1900", "newOrderRespType": "RESULT"}
    _, reply = await signed(simulator, "POST", path, order, key="rich", secret="s")
    assert reply["status"] == "EXPIRED"
    assert Decimal(reply["executedQty"]) == sum(size for _, size in book.asks) < 1900


@both
async def test_resting_orders_fill_when_the_price_crosses(simulator: Simulator, venue: str) -> None:
    exchange, symbol = VENUES[venue]
    async with client(simulator, exchange) as ex:
        await ex.create_order(symbol, "limit", "buy", "0.01", "60000", {"clientOrderId": "e1"})
        await admin(simulator, "/_price", {"symbol": "BTC/USDC:USDC", "price": "59000"})
        order = await find(ex, symbol, "e1")
    assert (order["status"], order["filled"], order["average"]) == ("closed", 0.01, 60000)


@both
async def test_too_little_money_is_refused_with_the_venues_code(simulator: Simulator, venue: str) -> None:
    exchange, symbol = VENUES[venue]
    async with client(simulator, exchange) as ex:
        await ex.load_markets()
        with pytest.raises((InsufficientFunds, ExchangeError)) as refusal:
            await ex.create_order(symbol, "limit", "buy", "300" if venue == "binanceusdm" else "100", "100000", {"clientOrderId": "f1"})
    codes = {"binance": "insufficient balance", "binanceusdm": "-2019", "bybit": "170131", "bybitlinear": "110007"}
    assert codes[venue] in str(refusal.value)
    truth = await entry(simulator, "f1")
    assert (truth["executions"], truth["rejections"], truth["status"]) == (0, 1, "REFUSED")


@pytest.mark.parametrize(("exchange", "code"), [("binanceusdm", "-2022"), ("bybit", "110017")])
async def test_reduce_only_needs_a_position_and_never_flips(simulator: Simulator, exchange: str, code: str) -> None:
    symbol = "BTC/USDT:USDT"
    async with client(simulator, exchange) as ex:
        with pytest.raises(InvalidOrder if exchange == "bybit" else Exception, match=code):
            await ex.create_order(symbol, "market", "sell", "0.1", None, {"reduceOnly": True, "clientOrderId": "g0"})
        await ex.create_order(symbol, "market", "buy", "0.1", None, {"clientOrderId": "g1"})
        await ex.create_order(symbol, "market", "sell", "0.5", None, {"reduceOnly": True, "clientOrderId": "g2"})
        assert [p for p in await ex.fetch_positions([symbol]) if p["contracts"]] == []
    assert (await entry(simulator, "g2"))["executed"] == "0.1"


async def test_settings_that_change_nothing_say_so(simulator: Simulator) -> None:
    async with client(simulator, "bybit") as ex:
        await ex.set_leverage(5, "BTC/USDT:USDT")
        with pytest.raises(Exception, match="110043"):
            await ex.set_leverage(5, "BTC/USDT:USDT")
        with pytest.raises(Exception, match="110025"):
            await ex.set_position_mode(False, "BTC/USDT:USDT")
    async with client(simulator, "binanceusdm") as ex:
        with pytest.raises(Exception, match="No need to change margin type"):
            await ex.set_margin_mode("cross", "BTC/USDT:USDT")
        with pytest.raises((OperationRejected, Exception), match="No need to change position side"):
            await ex.set_position_mode(False)
        with pytest.raises(Exception, match="Leverage 126 is not valid"):
            await ex.fapiprivate_post_leverage({"symbol": "BTCUSDT", "leverage": 126})


async def test_what_a_key_may_do_is_told(simulator: Simulator) -> None:
    for venue in ("binance", "binanceusdm", "bybit"):
        simulator.world.registry.register({"venue": venue, "api_key": f"w-{venue}", "secret": "s", "can_withdraw": True, "hedge": True})
    for venue in ("binance", "binanceusdm"):
        _, rights = await signed(simulator, "GET", "/sapi/v1/account/apiRestrictions", {}, key=f"w-{venue}", secret="s")
        assert rights["enableWithdrawals"] is True and rights["enableSpotAndMarginTrading"] is True
    _, reply = await signed(simulator, "GET", "/v5/user/query-api", {}, key="w-bybit", secret="s")
    assert "Withdraw" in reply["result"]["permissions"]["Wallet"]
    _, reply = await signed(simulator, "GET", "/v5/user/query-api", {})
    assert reply["result"]["permissions"]["Wallet"] == []
    _, mode = await signed(simulator, "GET", "/fapi/v1/positionSide/dual", {}, key="w-binanceusdm", secret="s")
    assert mode == {"dualSidePosition": True}


async def test_hedge_accounts_need_a_position_side(simulator: Simulator) -> None:
    simulator.world.registry.register({"venue": "binanceusdm", "api_key": "h", "secret": "s", "usdt": "100000", "hedge": True})
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1", "newOrderRespType": "RESULT"}
    status, reply = await signed(simulator, "POST", "/fapi/v1/order", order, key="h", secret="s")
    assert (status, reply["code"]) == (400, -4061)
    status, reply = await signed(simulator, "POST", "/fapi/v1/order", order | {"positionSide": "LONG"}, key="h", secret="s")
    assert (status, reply["status"], reply["positionSide"]) == (200, "FILLED", "LONG")
    _, reply = await signed(simulator, "POST", "/fapi/v1/order", order | {"positionSide": "SHORT"}, key="h", secret="s")
    assert reply["code"] == -2022


async def test_a_position_is_not_larger_than_its_leverage_allows(simulator: Simulator) -> None:
    """The first bracket ends at half a million: more needs a lower leverage, and a higher one needs less."""
    rich = {"api_key": "rich", "secret": SECRET, "venue": "binanceusdm", "usdt": "5000000"}
    await admin(simulator, "/_accounts", rich)
    usual = {"symbol": "BTCUSDT", "type": "MARKET", "side": "BUY"}

    async def post(path: str, **params: Any) -> Any:
        return (await signed(simulator, "POST", f"/fapi/v1/{path}", params, key="rich"))[1]

    changed = await post("leverage", symbol="BTCUSDT", leverage=125)
    assert (changed["leverage"], changed["maxNotionalValue"]) == (125, "500000")
    assert (await post("order", **usual, quantity="5"))["symbol"] == "BTCUSDT"
    refused = await post("order", **usual, quantity="5")
    assert refused == {"code": -2027, "msg": "Exceeded the maximum allowable position at current leverage."}
    assert (await post("leverage", symbol="BTCUSDT", leverage=20))["maxNotionalValue"] == "100000000"
    assert (await post("order", **usual, quantity="5"))["symbol"] == "BTCUSDT"
    assert (await post("leverage", symbol="BTCUSDT", leverage=125))["code"] == -2027
    assert (await post("order", **usual | {"side": "SELL"}, quantity="8"))["symbol"] == "BTCUSDT"
