"""The bare side of `remora bench orders`: ccxt's class in a plain loop. Imports nothing of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
import ccxt.async_support as ccxt

BINANCE: Final = {"recvWindow": 60_000, "fetchCurrencies": False, "fetchMargins": False, "leverageBrackets": {}}
BYBIT: Final = {"recvWindow": 60_000, "enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6}


def _client(name: str, options: dict[str, Any], url: str, session: aiohttp.ClientSession, number: int) -> Any:
    keys = {"apiKey": f"key-bench-{number}", "secret": f"secret-bench-{number}"}
    client = getattr(ccxt, name)({"session": session, "enableRateLimit": False, "timeout": 60_000, "options": options} | keys)
    for key, value in client.urls["api"].items():
        if isinstance(value, str):
            path = value.partition("://")[2].partition("/")
            client.urls["api"][key] = url + path[1] + path[2]
    client.has["fetchCurrencies"] = False
    return client


async def _loop(name: str, options: dict[str, Any], url: str, symbol: str, run: str, count: int, workers: int, accounts: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=workers)) as session:
        clients = [_client(name, options, url, session, number % accounts) for number in range(workers)]
        await clients[0].load_markets()
        for client in clients[1:]:
            client.set_markets_from_exchange(clients[0])
        price = (await clients[0].fetch_ticker(symbol))["last"] * 1.05
        numbers = iter(range(count))

        async def work(client: Any) -> None:
            for number in numbers:
                params = {"clientOrderId": f"{run}-{number}", "timeInForce": "IOC"}
                await client.create_order(symbol, "limit", "buy", 0.001, price, params)

        await asyncio.gather(*(work(client) for client in clients))
        for client in clients:
            client.session = None


Loop = Callable[[str, str, str, int, int, int], Awaitable[None]]


def _loop_of(name: str, options: dict[str, Any]) -> Loop:
    async def loop(url: str, symbol: str, run: str, count: int, workers: int, accounts: int) -> None:
        await _loop(name, options, url, symbol, run, count, workers, accounts)

    return loop


BARE_LOOPS: Final[dict[str, Loop]] = {
    "binance": _loop_of("binance", BINANCE | {"fetchMarkets": {"types": ["spot"]}}),
    "binanceusdm": _loop_of("binanceusdm", BINANCE | {"fetchMarkets": {"types": ["linear"]}}),
    "bybit": _loop_of("bybit", BYBIT | {"fetchMarkets": {"types": ["spot"]}}),
    "bybitlinear": _loop_of("bybit", BYBIT | {"fetchMarkets": {"types": ["linear"]}}),
}
