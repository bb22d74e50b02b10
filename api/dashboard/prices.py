"""The newest mark of a venue's market, from the end of `market.reports`: a venue and a symbol enter, a price or None leaves."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from engine.config import Settings
from engine.domain.messages import MarketReport, MarksReported
from engine.log.consume import bounds, open_consumer, read_range
from engine.topology import MARKET_REPORTS

TAIL: Final = 40
_DECODER: Final = msgspec.json.Decoder(MarketReport)


async def newest_mark(settings: Settings, venue: str, symbol: str) -> Decimal | None:
    """Errors: DependencyUnreachable."""
    name, found = settings.topic(MARKET_REPORTS), None
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, name, 0)
        async for records in read_range(consumer, name, 0, max(first, end - TAIL), end):
            for record in records:
                report = _DECODER.decode(record.value or b"")
                if isinstance(report, MarksReported) and report.venue == venue:
                    found = report.marks.get(symbol, found)
    return found
