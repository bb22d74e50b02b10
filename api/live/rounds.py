"""An accepted round as the feed keeps it: events enter as they lie on the log, frames for whoever may see them leave.

Events are read and written as JSON once, when the first client wants them, and all clients get the same bytes.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec

from api.live.items import Item, items_of
from api.live.marks import Place, write_vector
from api.live.payloads import Kind
from engine.errors import LogCorrupt
from engine.log.codec import decode_event
from engine.log.reader import AcceptedRound, Position, behind

log = logging.getLogger(__name__)
CHUNK_BYTES: Final = 64 * 1024
BEFORE_ALL: Final = (-1, 0)


@dataclass(frozen=True)
class View:
    """What one client gets. `follower_id`: its own and the public events. `whale_id`: events of that whale. `kinds` empty: all."""

    follower_id: str | None = None
    whale_id: str | None = None
    kinds: frozenset[Kind] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.follower_id is None and self.whale_id is None and not self.kinds

    def wants(self, item: Item) -> bool:
        """Whether whale and kind are wanted."""
        return (self.whale_id is None or item.whale_id == self.whale_id) and (not self.kinds or item.kind in self.kinds)


@dataclass(eq=False)
class Round:
    """One accepted round of a shard. `before`: the position that it follows. `vector`: where all partitions stood before it, in the
    order in which this process read them. `number`: events before it. `next`: the round that was read after it.
    """

    partition: int
    before: int
    after: Position
    at_ms: int
    values: list[tuple[int, bytes]]
    vector: tuple[int, ...]
    number: int = 0
    next: Round | None = field(default=None, repr=False)

    @property
    def end(self) -> int:
        """The next offset behind it."""
        return self.after.next_offset

    @property
    def stand(self) -> tuple[int, ...]:
        """Where all partitions stand behind it."""
        return (*self.vector[: self.partition], self.end, *self.vector[self.partition + 1 :])

    @cached_property
    def items(self) -> list[Item]:
        """All items, in order. An event that cannot be read is left out; the projector puts it where it can be found."""
        found: list[Item] = []
        for offset, value in self.values:
            try:
                found += items_of(decode_event(value), offset, self.partition, len(self.vector))
            except (LogCorrupt, msgspec.DecodeError) as error:
                log.error("the event at %s/%s is not shown: %s", self.partition, offset, error)
        return found

    @cached_property
    def _by_follower(self) -> dict[str, list[Item]]:
        own: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            for name in item.group or ((item.follower_id,) if item.follower_id else ()):
                own[name].append(item)
        return own

    @cached_property
    def _public(self) -> list[Item]:
        return [item for item in self.items if item.public]

    def bodies(self, view: View, after: Place = BEFORE_ALL) -> Iterator[tuple[Place, bytes]]:
        """What a view shows of the items behind a place."""
        name = view.follower_id
        items: Iterable[Item] = self.items
        if name is not None:
            items = sorted((*self._public, *self._by_follower.get(name, ())), key=lambda item: item.place)
        for item in items:
            if item.place > after and view.wants(item):
                yield item.place, item.seen_by(name) if name is not None and item.group else item.body

    def frames(self, view: View, vector: tuple[int, ...] | None = None, after: Place = BEFORE_ALL) -> list[bytes]:
        """The frames of a view, joined to chunks. `vector`: where the client stands if that is not where the process stood."""
        if view.everything and vector is None and after == BEFORE_ALL:
            return self._all_frames
        return self._joined(view, vector or self.vector, after)

    @cached_property
    def _all_frames(self) -> list[bytes]:
        return self._joined(View(), self.vector, BEFORE_ALL)

    def _joined(self, view: View, vector: tuple[int, ...], after: Place) -> list[bytes]:
        stand = write_vector(vector)
        chunks: list[bytes] = []
        parts: list[bytes] = []
        size = 0
        for (offset, number), body in self.bodies(view, after):
            parts.append(b"%bid: %b\n\n" % (body, f"{stand}-{self.partition}.{offset}.{number}".encode()))
            size += len(body)
            if size >= CHUNK_BYTES:
                chunks.append(b"".join(parts))
                parts, size = [], 0
        return [*chunks, b"".join(parts)] if parts else chunks


def round_of(accepted: AcceptedRound, before: int, vector: tuple[int, ...]) -> Round:
    """A round as the feed keeps it."""
    values = [(offset, value) for offset, _, value, _ in accepted.events]
    after = behind(accepted.marker, accepted.marker_offset)
    return Round(accepted.shard, before, after, accepted.marker.now, values, vector)
