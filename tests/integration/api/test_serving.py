"""The process: it serves on the port that it announces, and says in one sentence when it cannot."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest

from api.app import Server, _listen
from engine.config import Settings
from engine.errors import ConfigInvalid
from tests.support import wait_until
from tests.tables import Tables


async def test_serves_and_announces_its_port(tables: Tables, tmp_path: Path) -> None:
    settings = Settings(database_url=tables.dsn, api_port=0, ready_file=tmp_path / "ready", partitions=2)  # type: ignore[arg-type]
    listening = _listen(settings)
    server = Server(settings, listening)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await wait_until((tmp_path / "ready").exists)
    port = json.loads((tmp_path / "ready").read_text())["port"]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/livez")).json() == {"status": "alive"}
        assert (await client.get(f"http://127.0.0.1:{port}/openapi.json")).json()["info"]["title"] == "Remora"
    server.should_exit = True
    await serving


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigInvalid, match="cannot listen"):
        _listen(Settings(api_port=other.getsockname()[1]))
