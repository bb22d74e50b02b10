"""`market_marks`: reports of venues enter, the newest price of each venue and symbol leaves.

Nothing is counted here, so nothing depends on where reading begins: newer marks replace older ones. The table is no part of a generation.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from projections.batch import Poison
from projections.sql import load
from projections.staging import Curs, when

Word = Annotated[str, msgspec.Meta(pattern="^[^\\x00]+$")]
"""A text that Postgres can hold."""


class MarksView(msgspec.Struct, tag="MarksReported", tag_field="t", gc=False):
    """`MarksReported`."""

    venue: Word
    marks: dict[Word, Decimal]
    at: int


class RulesView(msgspec.Struct, tag="RulesReported", tag_field="t", gc=False):
    """`RulesReported` concerns no table."""


_decoder: Final = msgspec.json.Decoder(MarksView | RulesView)


class Marks:
    """What was read and is not in the table yet. `next_offset` is the next record of the topic's one partition to feed."""

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self.poison: list[Poison] = []
        self._newest: dict[tuple[str, str], tuple[Decimal, int, int]] = {}

    def feed(self, records: Iterable[Any]) -> None:
        """Take the next records."""
        for record in records:
            self.next_offset = record.offset + 1
            try:
                report = _decoder.decode(record.value or b"")
            except msgspec.DecodeError as error:
                self.poison.append(Poison(0, record.offset, record.key or b"", record.value or b"", str(error)))
                continue
            if isinstance(report, MarksView):
                self._take(report, record.offset)

    def _take(self, report: MarksView, offset: int) -> None:
        for symbol, price in report.marks.items():
            key = (report.venue, symbol)
            if key not in self._newest or self._newest[key][1] <= report.at:
                self._newest[key] = (price, report.at, offset)

    def write(self, cursor: Curs) -> None:
        """Merge what is new, in the caller's transaction."""
        if self._newest:
            rows = [(*key, price, when(at), offset) for key, (price, at, offset) in sorted(self._newest.items())]
            cursor.execute(load("merges.sql")["merge_marks"], [list(column) for column in zip(*rows, strict=True)])

    def written(self) -> None:
        """What was read is in the table, committed."""
        self._newest.clear()
        self.poison.clear()
