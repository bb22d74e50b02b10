"""Rate limits with the venues' real numbers and headers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from engine.exchanges.simulator import Options, Simulator
from engine.exchanges.simulator.limits import Window
from tests.contract.simulator.clients import client, signed
from tests.contract.simulator.conftest import register

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "40000", "quantity": "0.01"}


@pytest.fixture
async def limited() -> AsyncIterator[Simulator]:
    """A simulator that limits like the venues; its clock stands still inside a window."""
    made = Simulator(Options(bybit_async_ms=0, limits="real", ban_s=60))
    register(made)
    await made.start()
    freeze(made)
    yield made
    await made.stop()


def freeze(simulator: Simulator, later_ms: int = 0) -> None:
    """Stop the exchange's clock at the beginning of the current minute, so that no window ends under the test."""
    now = int(time.time() * 1000) // 60_000 * 60_000 + later_ms
    simulator.world.clock.now_ms = lambda: now  # type: ignore[method-assign]


def now(simulator: Simulator) -> int:
    return simulator.world.clock.now_ms()


async def get(simulator: Simulator, path: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of a public request."""
    async with aiohttp.ClientSession() as session, session.get(simulator.url + path) as reply:
        return reply.status, dict(reply.headers), await reply.text()


async def test_binance_weight_429_then_418(limited: Simulator) -> None:
    status, headers, _ = await get(limited, "/api/v3/exchangeInfo")
    assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "20")
    limited.dispatcher.limits.windows["weight", "binance", "127.0.0.1"].count = 6000  # type: ignore[union-attr]
    status, headers, body = await get(limited, "/api/v3/time")
    assert status == 429 and "-1003" in body and headers["Retry-After"] == "60"
    seen = [(await get(limited, "/api/v3/time"))[0] for _ in range(11)]
    assert seen[-1] == 418
    status, headers, body = await get(limited, "/api/v3/time")
    assert status == 418 and "banned until" in body and int(headers["Retry-After"]) == 60
    assert (await get(limited, "/fapi/v1/time"))[0] == 200
    freeze(limited, 120_000)
    assert (await get(limited, "/api/v3/time"))[0] == 200


async def test_spot_counts_unfilled_orders_and_futures_all(limited: Simulator) -> None:
    market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001"}
    for _ in range(105):
        assert (await signed(limited, "POST", "/api/v3/order", market, timestamp=now(limited)))[0] == 200
    codes = [(await signed(limited, "POST", "/api/v3/order", ORDER, timestamp=now(limited)))[1].get("code") for _ in range(101)]
    assert codes == [None] * 100 + [-1015]
    codes = [(await signed(limited, "POST", "/fapi/v1/order", market, timestamp=now(limited)))[1].get("code") for _ in range(301)]
    assert codes == [None] * 300 + [-1015]


@pytest.mark.parametrize(("category", "limit"), [("linear", 10), ("spot", 20)])
async def test_bybit_creates_each_second(limited: Simulator, category: str, limit: int) -> None:
    order = {"category": category, "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "40000"}
    codes = [(await signed(limited, "POST", "/v5/order/create", order, timestamp=now(limited)))[1]["retCode"] for _ in range(limit + 1)]
    assert codes == [0] * limit + [10006]
    freeze(limited, 1000)
    assert (await signed(limited, "POST", "/v5/order/create", order, timestamp=now(limited)))[1]["retCode"] == 0


async def test_bybit_counts_600_requests_of_an_ip_in_five_seconds(limited: Simulator) -> None:
    assert (await get(limited, "/v5/market/time"))[0] == 200
    limited.dispatcher.limits.windows["ip", "bybit", "127.0.0.1"].count = 600  # type: ignore[union-attr]
    for _ in range(2):
        status, _, body = await get(limited, "/v5/market/time")
        assert (status, body) == (403, "access too frequent")
    freeze(limited, 601_000)
    assert (await get(limited, "/v5/market/time"))[0] == 200


async def test_counting_headers_come_with_private_replies(limited: Simulator) -> None:
    async with client(limited, "bybit", enableUnifiedMargin=False, enableUnifiedAccount=True, unifiedMarginStatus=6) as ex:
        ex.nonce = lambda: now(limited)
        await ex.fetch_balance()
        headers = {name.lower(): value for name, value in ex.last_response_headers.items()}
    assert (headers["x-bapi-limit"], headers["x-bapi-limit-status"]) == ("50", "49")
    assert int(headers["x-bapi-limit-reset-timestamp"]) > now(limited)


def test_a_window_starts_anew() -> None:
    window = Window()
    assert [window.add(1000, 1000, 2), window.add(1999, 1000, 3), window.add(2000, 1000, 1)] == [2, 5, 1]
    assert window.left_ms(2400, 1000) == 600
