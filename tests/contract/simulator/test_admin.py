"""The administrator's endpoints: accounts, prices, ledger pages and file, requests, and the role that the CLI starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from engine.config import Settings
from engine.exchanges.simulator import Options, Simulator, run
from tests.contract.simulator.clients import admin, client, signed
from tests.contract.simulator.conftest import register
from tests.support import wait_until


async def test_accounts_are_registered_in_batches_and_only_once(simulator: Simulator) -> None:
    many = [{"venue": v, "api_key": f"k{i}", "secret": "s", "usdt": "5"} for i in range(500) for v in ("binance", "bybitlinear")]
    reply = await admin(simulator, "/_accounts", {"accounts": many})
    assert len(reply["accounts"]) == 1000 and reply["accounts"][1]["exchange"] == "bybit"
    await admin(simulator, "/_accounts", {"venue": "binance", "api_key": "k1", "secret": "s", "usdt": "7"})
    (held,) = [a for a in (await admin(simulator, "/_accounts?api_key=k1"))["accounts"] if a["exchange"] == "binance"]
    assert held["balances"]["USDT"]["total"] == "5"
    await admin(simulator, "/_accounts", {"venue": "binance", "api_key": "k1", "secret": "s", "usdt": "7", "reset": True})
    (held,) = [a for a in (await admin(simulator, "/_accounts?api_key=k1"))["accounts"] if a["exchange"] == "binance"]
    assert held["equity_usdt"] == "7"


@pytest.mark.parametrize(
    ("path", "document", "words"),
    [
        ("/_accounts", {"venue": "kraken", "api_key": "k", "secret": "s"}, "venue: got 'kraken'"),
        ("/_accounts", {"venue": "binance"}, "api_key and secret"),
        ("/_price", {"symbol": "BTC/USDC:USDC", "price": "-1"}, "expected a positive number"),
        ("/_price", {"symbol": "BTC/USDC:USDC", "price": "dear"}, "ConversionSyntax"),
        ("/_price", {"symbol": "BTC/USDC:USDC"}, "KeyError"),
        ("/_price", [], "AttributeError"),
        ("/_nothing", {}, "no such endpoint"),
    ],
)
async def test_wrong_requests_get_a_sentence(simulator: Simulator, path: str, document: object, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        await admin(simulator, path, document)
    async with aiohttp.ClientSession() as session, session.post(simulator.url + path, data=b"{") as reply:
        assert reply.status in (400, 404)


async def test_one_whale_price_drives_every_venue_by_its_factor(simulator: Simulator) -> None:
    prices = [{"symbol": "KBONK/USDC:USDC", "price": "0.005"}, {"symbol": "XYZ-CL/USDC:USDC", "price": "80"}]
    assert await admin(simulator, "/_price", {"prices": prices}) == {"moved": 1, "unmapped": ["XYZ-CL/USDC:USDC"]}
    mids = await admin(simulator, "/_price")
    assert float(mids["binance"]["BONK/USDT"]) == pytest.approx(0.000005, rel=0.01)
    assert float(mids["binanceusdm"]["1000BONK/USDT:USDT"]) == pytest.approx(0.005, rel=0.001)
    assert float(mids["bybitlinear"]["1000BONK/USDT:USDT"]) == pytest.approx(0.005, rel=0.001)
    await admin(simulator, "/_price", {"symbol": "BONK/USDT", "venue": "bybit", "price": "0.000006"})
    await admin(simulator, "/_price", {"symbol": "NOPE", "venue": "bybit", "price": "1"})
    mids = await admin(simulator, "/_price?venue=binanceusdm")
    assert list(mids) == ["binanceusdm"] and float(mids["binanceusdm"]["1000BONK/USDT:USDT"]) == pytest.approx(0.006, rel=0.001)


async def test_the_ledger_pages_counts_and_is_written_to_its_file(tmp_path: Path) -> None:
    made = Simulator(Options(bybit_async_ms=0, ledger_file=tmp_path / "ledger.jsonl"))
    register(made)
    await made.start()
    async with client(made, "bybit") as ex:
        for number in range(5):
            await ex.create_order("BTC/USDT:USDT", "market", "buy", 0.01, None, {"clientOrderId": f"p{number}"})
    first = await admin(made, "/_ledger?limit=3&accounts=0")
    rest = await admin(made, f"/_ledger?after={first['next']}&limit=3&accounts=0")
    assert (first["count"], rest["next"], "accounts" in first) == (5, None, False)
    assert [row["client_order_id"] for row in first["entries"] + rest["entries"]] == [f"p{n}" for n in range(5)]
    requests = await admin(made, "/_requests")
    assert requests["requests"]["bybit POST /v5/order/create"] == 5 == requests["orders_received"]
    assert 0 < requests["first_received_us"] < requests["last_received_us"]
    whole = await admin(made, "/_ledger")
    await made.stop()
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert lines == whole["entries"]
    bybit = next(account for account in whole["accounts"] if account["exchange"] == "bybit")
    assert sum(Decimal(row["executed"]) for row in lines) == Decimal(bybit["positions"][0]["quantity"])


async def test_undriven_prices_walk_and_driven_ones_stay() -> None:
    made = Simulator(Options(walk_s=0.01, walk_bps=20))
    await made.start()
    await admin(made, "/_price", {"symbol": "ETH/USDC:USDC", "price": "3000"})
    eth, btc = made.world.markets["binance"]["ETHUSDT"], made.world.markets["binance"]["BTCUSDT"]
    before = made.world.prices.mid(eth), made.world.prices.mid(btc)
    await wait_until(lambda: made.world.prices.mid(btc) != before[1], 5)
    assert made.world.prices.mid(eth) == before[0]
    await made.stop()


async def test_the_role_serves_until_it_is_cancelled() -> None:
    with contextlib.closing(await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)) as probe:
        port = probe.sockets[0].getsockname()[1]
    await probe.wait_closed()
    role = asyncio.create_task(run(Settings(simulator_port=port), limits="real", faults="http_502=1.0"))
    await wait_until(lambda: _answers(port), 10)
    role.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await role


async def _answers(port: int) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/_faults") as reply:
            return bool((await reply.json())["rates"] == {"http_502": 1.0})
    except aiohttp.ClientError:
        return False


@pytest.mark.parametrize(("path", "code"), [("/api/v3/nothing", -1020), ("/fapi/v1/nothing", -5000), ("/v5/nothing", 10017)])
async def test_unknown_endpoints_are_refused_in_the_venues_words(simulator: Simulator, path: str, code: int) -> None:
    status, reply = await signed(simulator, "GET", path, {})
    assert (status, reply.get("code", reply.get("retCode"))) == (404, code)
    assert path in reply.get("msg", reply.get("retMsg"))


async def test_other_accounts_than_the_unified_one_are_refused(simulator: Simulator) -> None:
    status, reply = await signed(simulator, "GET", "/v5/account/wallet-balance", {"accountType": "CONTRACT"})
    assert (status, reply["retCode"]) == (200, 10001)
