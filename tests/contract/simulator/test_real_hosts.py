"""Over TLS with the real host names the production error classes apply: ccxt signs and calls https://fapi.binance.com unmodified."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from ccxt.base.errors import BaseError, InsufficientFunds, InvalidOrder

from engine.exchanges.simulator import Options, Simulator
from tests.contract.simulator.clients import CLASSES, KEY, SECRET
from tests.contract.simulator.conftest import register


class ToSimulator(AbstractResolver):
    """Every host name is the simulator's TLS listener."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": self._port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Simulator]:
    """A simulator with a TLS listener."""
    made = Simulator(Options(bybit_async_ms=0))
    register(made)
    await made.start(tls_folder=tmp_path / "tls")
    yield made
    await made.stop()


async def refusal(simulator: Simulator, exchange: str, symbol: str, params: dict[str, Any], amount: str = "0.1") -> type[BaseException]:
    """The class that ccxt raises for a market sell."""
    context = ssl.create_default_context(cafile=str(simulator.ca_file))
    connector = aiohttp.TCPConnector(resolver=ToSimulator(simulator.tls_port), ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        ex = CLASSES[exchange]({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "session": session})
        ex.timeout_on_exit, ex.ssl_context = 0, context
        try:
            await ex.create_order(symbol, "market", "sell", amount, None, params)
        except BaseError as error:
            return type(error)
        finally:
            await ex.close()
    return type(None)  # type: ignore[return-value]


async def test_production_error_tables_apply(secure: Simulator) -> None:
    reduce = {"reduceOnly": True}
    assert await refusal(secure, "binanceusdm", "BTC/USDT:USDT", reduce) is InvalidOrder
    assert await refusal(secure, "binanceusdm", "BTC/USDT:USDT", {}) is type(None)
    assert issubclass(await refusal(secure, "binance", "BTC/USDT", {}), InsufficientFunds)
    assert await refusal(secure, "bybit", "BTC/USDT:USDT", reduce) is InvalidOrder


async def test_other_authorities_are_not_trusted(secure: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(secure.tls_url + "/api/v3/time")
    assert (secure.ca_file.parent / "server.pem").stat().st_mode & 0o077 == 0  # type: ignore[union-attr]
