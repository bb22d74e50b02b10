"""`/whales` and one whale: its fills, the copies under each, who follows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.dashboard.shell import Open, Page, nothing_here
from api.pages import Cursor, decode_cursor, encode_cursor, read_number, read_time
from projections.ids import whale_number
from projections.reads import Row

router = APIRouter(include_in_schema=False)
WhaleKey = Annotated[str, Path(max_length=128)]
WINDOW: Final = timedelta(days=7)
FILLS: Final = 20
COPIES: Final = 25
"""Copies that are shown under one fill."""
MOST: Final = 200


@router.get("/whales")
async def whales(page: Open) -> HTMLResponse:
    """Everybody who did something in the last days or is followed."""
    page.everything()
    return page.show("whales.html", **await _whales(page))


@router.get("/fragments/whales")
async def whales_table(page: Open) -> HTMLResponse:
    """The table alone."""
    page.everything()
    return page.show("parts/whales.html", **await _whales(page))


async def _whales(page: Page) -> dict[str, Any]:
    return {"whales": await page.reads.rows("board_whales", since=datetime.now(UTC) - WINDOW, limit=MOST), "days": WINDOW.days}


@router.get("/whales/{whale:path}")
async def whale_page(page: Open, whale: WhaleKey, before: Cursor = None) -> HTMLResponse:
    """One whale."""
    page.everything()
    follows = await page.reads.rows("board_whale_follows", whale_id=whale_number(whale), limit=MOST)
    fills = await _fills(page, whale, before)
    if not follows and not fills["fills"] and before is None:
        raise nothing_here(f"The whale {whale!r}")
    return page.show("whale.html", whale=whale, follows=follows, **fills)


@router.get("/fragments/whales/{whale:path}")
async def whale_fills(page: Open, whale: WhaleKey, before: Cursor = None) -> HTMLResponse:
    """Its fills alone."""
    page.everything()
    return page.show("parts/whale_fills.html", whale=whale, **await _fills(page, whale, before))


async def _fills(page: Page, whale: str, before: str | None) -> dict[str, Any]:
    shown, older = await fills_of(page, whale, FILLS, before)
    copies: dict[int, list[Row]] = {row["id"]: [] for row in shown}
    for copy in await page.reads.rows("board_copies", signals=list(copies), each=COPIES):
        copies[copy["signal_id"]].append(copy)
    return {"fills": shown, "copies": copies, "older": older, "before": before}


async def fills_of(page: Page, whale: str, limit: int, before: str | None = None) -> tuple[list[Row], str | None]:
    """The newest fills of a whale, or those behind a cursor, and the cursor of the older ones: many share their millisecond."""
    at, number = decode_cursor(before, (read_time, read_number)) or (None, None)
    rows = await page.reads.rows("board_whale_fills", whale_id=whale_number(whale), before=at, before_id=number, limit=limit + 1)
    return rows[:limit], encode_cursor(rows[limit - 1], ("detected_at", "id")) if len(rows) > limit else None
