"""How routes read: named statements, pages, waiting for one's own write, and how fresh the answer is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from api.errors import BadPosition, NotVisibleYet
from api.pages import Cursor, Limit, Reader, decode_cursor, encode_cursor
from api.security import Principal
from engine.config import Settings
from engine.topology import BROADCAST_SOURCES, EVENTS, SOURCES
from projections.ids import user_id
from projections.reads import ReadModels, Row

WAIT_S: Final = 5.0
POLL_S: Final = 0.02
FRESH_S: Final = 0.1
"""How long the answer to how fresh the tables are is used for other requests too."""
NOBODY: Final = -1
"""No row has this `users.id`."""
MinPosition = Annotated[
    str | None,
    Query(max_length=40, description="wait until this record is in the answer: `code/partition/offset`, for example `f/3/127`"),
]


class Freshness(BaseModel):
    """How old the answer can be. `position` is the next offset of each partition of the events that is not in it yet."""

    age_ms: int | None = Field(description="the answer holds everything that is at least this old; null: nothing was ever projected")
    position: dict[str, int]


class Reads:
    """One for the process: routes get it by `Depends`."""

    def __init__(self, settings: Settings, models: ReadModels) -> None:
        self._settings, self._models = settings, models
        self._fresh: tuple[float, Freshness] | None = None

    async def rows(self, name: str, **parameters: Any) -> list[Row]:
        """All rows of a named statement."""
        return await self._models.rows(name, **parameters)

    async def row(self, name: str, **parameters: Any) -> Row | None:
        """The first row of a named statement, if there is one."""
        return await self._models.row(name, **parameters)

    async def page(
        self, name: str, filters: Mapping[str, Any], keys: Sequence[str], readers: Sequence[Reader], cursor: str | None, limit: int
    ) -> tuple[list[Row], str | None]:
        """One page of a list, and the cursor of the next one. `keys` are the columns that it is sorted by."""
        found = await self._models.listed(name, filters, decode_cursor(cursor, readers), limit + 1)
        return found[:limit], encode_cursor(found[limit - 1], keys) if len(found) > limit else None

    async def partitions(self) -> list[Row]:
        """What the projector noted about each partition of the events."""
        return await self.rows("freshness", topics=[self._settings.topic(EVENTS)])

    async def freshness(self) -> Freshness:
        """Take it before the rows: they can only be newer. What was asked within `FRESH_S` is told again, older by that."""
        now = time.monotonic()
        if self._fresh is None or now - self._fresh[0] > FRESH_S:
            self._fresh = (now, freshness_of(await self.partitions()))
        asked, found = self._fresh
        if found.age_ms is None or now == asked:
            return found
        return found.model_copy(update={"age_ms": found.age_ms + round((now - asked) * 1000)})

    async def wait_for(self, min_position: str | None) -> None:
        """Return when a record of a source is in the read models; at most `WAIT_S` later with an error."""
        if min_position is None:
            return
        code, partition, offset = read_position(min_position)
        if code not in BROADCAST_SOURCES and partition >= self._settings.partitions:
            raise BadPosition(f"{SOURCES[code].name} has no partition {partition}: it has {self._settings.partitions}.")
        until = time.monotonic() + WAIT_S
        while not self._seen(await self.partitions(), code, partition, offset):
            if time.monotonic() > until:
                raise NotVisibleYet(f"{min_position} is not projected after {WAIT_S:g} s.", headers={"Retry-After": "1"})
            await asyncio.sleep(POLL_S)
        self._fresh = None

    def _seen(self, partitions: Sequence[Row], code: str, partition: int, offset: int) -> bool:
        """Whether the shards that the record goes to have told that it is behind them."""
        wanted = set(range(self._settings.partitions)) if code in BROADCAST_SOURCES else {partition}
        key = f"{code}/{partition}"
        return wanted <= {row["partition"] for row in partitions if (row["sources"] or {}).get(key, 0) > offset}


def freshness_of(partitions: Sequence[Row]) -> Freshness:
    """From what the projector noted: the lag of the slowest partition and the time since it was taken."""
    ages = [None if row["checked_ms_ago"] is None else row["checked_ms_ago"] + int((row["lag_seconds"] or 0) * 1000) for row in partitions]
    known = [age for age in ages if age is not None]
    position = {str(row["partition"]): row["position"] for row in partitions}
    return Freshness(age_ms=max(known) if known and len(known) == len(ages) else None, position=position)


def read_position(text: str) -> tuple[str, int, int]:
    """Code of the source, partition and offset. Errors: BadPosition."""
    code, *numbers = text.split("/")
    if code not in SOURCES or len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise BadPosition(f"min_position is `code/partition/offset` with a code of {', '.join(SOURCES)}.")
    return code, int(numbers[0]), int(numbers[1])


def rows_of(caller: Principal, follower: str | None) -> int | None:
    """The `users.id` that a list is filtered by: the caller's own follower, the one that was asked for, or none. Of others: nobody's."""
    if not caller.sees(follower or caller.follower_id):
        return NOBODY
    wanted = caller.only(follower)
    return user_id(wanted) if wanted else None


def get_reads(request: Request) -> Reads:
    """The process's `Reads`."""
    reads: Reads = request.app.state.reads
    return reads


async def _reads(request: Request) -> Reads:
    """For routes. Async, like every dependency here: FastAPI runs a plain function in a thread, which costs more than all the rest."""
    return get_reads(request)


Reading = Annotated[Reads, Depends(_reads)]


class Paged:
    """What every list is asked besides its filters. Nothing is waited for before the route says so: by then it knows who asks."""

    def __init__(self, reads: Reads, cursor: str | None, limit: int, min_position: str | None) -> None:
        self.reads, self.cursor, self.limit, self._min_position = reads, cursor, limit, min_position

    async def ready(self) -> Freshness:
        """When the tables have come to `min_position`: how fresh they are."""
        await self.reads.wait_for(self._min_position)
        return await self.reads.freshness()

    async def rows(
        self, name: str, filters: Mapping[str, Any], keys: Sequence[str], readers: Sequence[Reader]
    ) -> tuple[list[Row], str | None]:
        """The page that was asked for, as `Reads.page`."""
        return await self.reads.page(name, filters, keys, readers, self.cursor, self.limit)


async def _paged(reads: Reading, cursor: Cursor = None, limit: Limit = 100, min_position: MinPosition = None) -> Paged:
    return Paged(reads, cursor, limit, min_position)


Paging = Annotated[Paged, Depends(_paged)]
"""For routes that list: the parameters `cursor`, `limit` and `min_position`, said once."""
