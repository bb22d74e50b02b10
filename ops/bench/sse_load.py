"""The clients of the live feed for `remora bench api`, a process of its own: how many and how long enters as JSON, times leave as JSON.

It writes signals with their decisions as accepted rounds to the log, as the engine does, and reads them back in every stream. A time runs
from before the signal's first round is written until a client has the event.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any, Final

import uvloop

from engine.config import Settings
from ops.bench.eventlog import EventLog

ADMITTED: Final = re.compile(rb'event: signal_admitted\ndata: \{[^\n]*"signal_id":"bench-(\d+)"')
DEADLINE_S: Final = 60.0
MOST: Final = 1
"""Followers a shard that decide on a signal."""


class Client:
    """One stream."""

    def __init__(self, arrived: list[tuple[int, float]]) -> None:
        self._arrived = arrived
        self._rest = b""
        self.ready = asyncio.Event()

    async def run(self, port: int, key: str) -> None:
        """Read for ever."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/live HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        while chunk := await reader.read(1 << 18):
            now = time.perf_counter()
            if b"event: ready" in chunk:
                self.ready.set()
            text = self._rest + chunk
            at = 0
            for found in ADMITTED.finditer(text):
                self._arrived.append((int(found[1]), now))
                at = found.end()
            self._rest = text[max(at, len(text) - 1000) :]


async def write(settings: Settings, signals: int, every_s: float) -> dict[int, float]:
    """Signals on the log at a pace; gives when each was begun."""
    log = EventLog(settings, 200)
    await log.begin()
    sent: dict[int, float] = {}
    begun = time.perf_counter()
    for number in range(signals):
        await asyncio.sleep(max(0.0, begun + number * every_s - time.perf_counter()))
        sent[number] = time.perf_counter()
        await log.signal(MOST)
    await log.end()
    return sent


async def main(task: dict[str, Any]) -> list[float]:
    """Milliseconds of every signal to every client."""
    arrived: list[tuple[int, float]] = []
    clients = [Client(arrived) for _ in range(task["clients"])]
    running = [asyncio.create_task(client.run(task["port"], task["key"])) for client in clients]
    await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), DEADLINE_S)
    sent = await write(Settings(**task["settings"]), task["signals"], task["every_s"])
    until = time.monotonic() + DEADLINE_S
    while len(arrived) < len(sent) * len(clients) and time.monotonic() < until:  # noqa: ASYNC110 - counted by 500 tasks
        await asyncio.sleep(0.05)
    for each in running:
        each.cancel()
    assert len(arrived) == len(sent) * len(clients), f"{len(arrived)} of {len(sent) * len(clients)} events arrived"
    return [(at - sent[number]) * 1000 for number, at in arrived]


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.load(sys.stdin)))))
