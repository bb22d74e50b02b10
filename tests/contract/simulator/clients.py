"""ccxt's unmodified classes against a running simulator, and the recorded exchange traffic."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import ccxt.async_support as ccxt
import pytest
from yarl import URL

from engine.exchanges.simulator import Simulator
from tests.support import test_data_folder as data_folder

KEY, SECRET = "test-key", "test-secret"
FIXTURES = data_folder().parent / "fixtures"
CLASSES = {"binance": ccxt.binance, "binanceusdm": ccxt.binanceusdm, "bybit": ccxt.bybit}


@cache
def recorded(name: str) -> Any:
    """One file of the recorded traffic; skips when it is not there."""
    file = FIXTURES / name
    if not file.exists():
        pytest.skip(f"recorded exchange traffic is not beside REMORA_TEST_DATA: {name}")
    return json.loads(file.read_text())


def snake(name: str) -> str:
    """`fetchOpenOrders` as `fetch_open_orders`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def point(client: Any, url: str) -> None:
    """Replace scheme and host of every API address, keep the path."""
    for name, address in client.urls["api"].items():
        client.urls["api"][name] = url + urlsplit(address.replace("{hostname}", "host")).path


@asynccontextmanager
async def client(simulator: Simulator, exchange: str, **options: Any) -> AsyncIterator[Any]:
    """An instance of ccxt's class with the test key, reached through the URL override."""
    made = CLASSES[exchange]({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "options": options})
    made.timeout_on_exit = 0
    point(made, simulator.url)
    try:
        yield made
    finally:
        await made.close()


async def signed(simulator: Simulator, method: str, path: str, params: dict[str, Any], **changes: Any) -> tuple[int, Any]:
    """One request signed here, not by ccxt: HTTP status and the reply with its true JSON types. `changes` spoil it: `secret`, `key`,
    `timestamp`, `tamper` (bytes put in place after signing)."""
    stamp = str(changes.get("timestamp", int(time.time() * 1000)))
    key, secret = changes.get("key", KEY), changes.get("secret", SECRET).encode()
    if path.startswith("/v5"):
        body = json.dumps(params) if method == "POST" else urlencode(params)
        sign = hmac.new(secret, f"{stamp}{key}5000{body}".encode(), "sha256").hexdigest()
        headers = {"X-BAPI-API-KEY": key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000", "X-BAPI-SIGN": sign}
    else:
        body = urlencode({"timestamp": stamp, "recvWindow": 5000} | params)
        body += "&signature=" + hmac.new(secret, body.encode(), "sha256").hexdigest()
        headers = {"X-MBX-APIKEY": key, "Content-Type": "application/x-www-form-urlencoded"}
    body = body.replace(*changes.get("tamper", ("", "")))
    in_body = method in ("POST", "PUT")
    address = URL(simulator.url + path + ("" if in_body else "?" + body), encoded=True)
    data = body if in_body else None
    async with aiohttp.ClientSession() as session, session.request(method, address, data=data, headers=headers) as reply:
        return reply.status, json.loads(await reply.read())


async def admin(simulator: Simulator, path: str, document: Any = None) -> Any:
    """One administrator request: POST with a document, GET without."""
    async with aiohttp.ClientSession() as session:
        request = session.get(simulator.url + path) if document is None else session.post(simulator.url + path, json=document)
        async with request as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()


async def entry(simulator: Simulator, client_id: str) -> dict[str, Any]:
    """The ledger's entry of a client order id."""
    found = [row for row in (await admin(simulator, "/_ledger?accounts=0"))["entries"] if row["client_order_id"] == client_id]
    assert len(found) == 1, client_id
    return dict(found[0])
