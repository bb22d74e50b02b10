"""The load of `remora bench api`, a process of its own: questions enter as JSON on standard input, times leave as JSON on standard output.

Both sides are asked by the same workers, as many at once, for as long: the API over HTTP/1.1 that is kept open, Postgres by psycopg with
a connection a worker. The raw side runs a route's statements and reads their rows, nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import uvloop
from psycopg.rows import dict_row

Question = list[Any]
"""Of the API a path, of Postgres statements with their parameters."""
Ask = Callable[[Question], Awaitable[None]]
DRAIN_S: Final = 10.0


@dataclass
class Http:
    """One connection to the API."""

    port: int
    key: str
    reader: asyncio.StreamReader = field(init=False)
    writer: asyncio.StreamWriter = field(init=False)

    async def open(self) -> Ask:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        return self.ask

    async def ask(self, question: Question) -> None:
        """One answer, read to its end."""
        self.writer.write(f"GET {question[0]} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), (question[0], head)
        await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


@dataclass
class Raw:
    """One connection to Postgres."""

    dsn: str

    async def open(self) -> Ask:
        """Connect as the API does."""
        options = {"row_factory": dict_row, "autocommit": True, "options": "-c timezone=UTC"}
        self.connection = await psycopg.AsyncConnection.connect(self.dsn, **options)  # type: ignore[arg-type]
        return self.ask

    async def ask(self, question: Question) -> None:
        """All rows of all statements."""
        for statement, parameters in question:
            await (await self.connection.execute(statement, parameters)).fetchall()


async def flat_out(asks: Sequence[Ask], questions: list[Question], seconds: float) -> dict[str, Any]:
    """Every worker asks again as soon as it has its answer."""
    took: list[float] = []
    begun = time.perf_counter()

    async def work(number: int, ask: Ask) -> None:
        while (now := time.perf_counter()) - begun < seconds:
            await ask(questions[(len(took) * 7 + number) % len(questions)])
            took.append((time.perf_counter() - now) * 1000)

    await asyncio.gather(*(work(number, ask) for number, ask in enumerate(asks)))
    return {"count": len(took), "seconds": time.perf_counter() - begun, "times_ms": took}


async def paced(asks: Sequence[Ask], questions: list[Question], rate: float, seconds: float) -> list[float]:
    """So many questions a second, whatever the answers do; each time counts from when the question was due."""
    free: asyncio.Queue[Ask] = asyncio.Queue()
    for ask in asks:
        free.put_nowait(ask)
    took: list[float] = []
    begun = time.perf_counter()

    async def one(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        ask = await free.get()
        await ask(questions[number % len(questions)])
        free.put_nowait(ask)
        took.append((time.perf_counter() - due) * 1000)

    running = [asyncio.create_task(one(number)) for number in range(int(rate * seconds))]
    await asyncio.wait_for(asyncio.gather(*running), seconds + DRAIN_S)
    return took


async def main(task: dict[str, Any]) -> dict[str, Any]:
    """Each route flat out, the raw side and the API in turn; then the API at a pace, all routes mixed."""
    workers = range(task["workers"])
    raws = [await Raw(task["dsn"]).open() for _ in workers]
    https = [await Http(task["port"], task["key"]).open() for _ in workers]
    found: dict[str, Any] = {"routes": {}}
    for name, route in task["routes"].items():
        # Both once before, so that statements are prepared and pages are warm.
        for asks, side in ((raws, "raw"), (https, "api")):
            await flat_out(asks, route[side], task["warm_s"])
        found["routes"][name] = {side: await flat_out(asks, route[side], task["seconds"]) for asks, side in ((raws, "raw"), (https, "api"))}
    mixed = [question for several in zip(*(route["api"] for route in task["routes"].values()), strict=True) for question in several]
    more = [await Http(task["port"], task["key"]).open() for _ in range(task["most_open"] - len(https))]
    found["paced_ms"] = await paced([*https, *more], mixed, task["rate"], task["paced_s"])
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.load(sys.stdin)))))
