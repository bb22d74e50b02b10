"""`/`: where the difference went, the funnel, latency by stage, equity, the newest fills, reasons. Each part is a fragment that refreshes.

Sums over a window are asked of Postgres once for all who look (see `shared`), at most every `FRESH_S` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from api.dashboard.gap import read_gap, total
from api.dashboard.letters import letters_of
from api.dashboard.shared import shared
from api.dashboard.shell import HEADERS, Open, Page
from projections.ids import user_id

router = APIRouter(include_in_schema=False)
Window = Literal["15m", "1h", "24h", "7d"]
WINDOWS: Final[dict[Window, timedelta]] = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
}
Chosen = Annotated[Window, Query(alias="window")]
FRESH_S: Final = 1.0
EQUITY_FRESH_S: Final = 3.0
FILLS: Final = 12
STAGES: Final[dict[str, tuple[str, str]]] = {
    "published": ("Detected to published", "the detector's own time"),
    "decided": ("Published to decided", "sequencer, inbox, engine"),
    "attempted": ("Decided to sent", "the round is written, then the executor takes the order"),
    "acknowledged": ("Sent to answered", "the venue"),
    "whole": ("Published to answered", "all of ours and the venue"),
}


class Bar(NamedTuple):
    """One bar: how long it is of 1000."""

    label: str
    hint: str
    number: int
    width: float


def since(window: Window) -> datetime:
    """Begin of a window that ends now."""
    return datetime.now(UTC) - WINDOWS[window]


@router.get("/")
async def overview(page: Open, window: Chosen = "1h") -> Response:
    """The page. A key of one follower goes to its follower."""
    if page.viewer.follower_id is not None:
        return RedirectResponse(f"/followers/{quote(page.viewer.follower_id, safe='')}", 303)
    parts = await _difference(page, window) | await _flow(page, window) | await _fills(page, window)
    return page.show("overview.html", window=window, windows=list(WINDOWS), **parts)


@router.get("/fragments/difference")
async def difference(page: Open, window: Chosen = "1h") -> HTMLResponse:
    """The gap and its parts."""
    page.everything()
    return page.show("parts/difference.html", window=window, **await _difference(page, window))


@router.get("/fragments/flow")
async def flow(page: Open, window: Chosen = "1h") -> HTMLResponse:
    """Funnel, latency and reasons."""
    page.everything()
    return page.show("parts/flow.html", window=window, **await _flow(page, window))


@router.get("/fragments/fills")
async def fills(page: Open, window: Chosen = "1h") -> HTMLResponse:
    """The newest fills."""
    page.everything()
    return page.show("parts/fills.html", window=window, **await _fills(page, window))


@router.get("/fragments/equity.json")
async def equity(page: Open, window: Chosen = "1h", follower: Annotated[str | None, Query(max_length=128)] = None) -> JSONResponse:
    """Equity over time, seconds and quote, the newest reports last."""
    only = page.viewer.only(follower)
    points = await shared(page).get(("equity", window, only), EQUITY_FRESH_S, lambda: _equity(page, window, only))
    return JSONResponse(points, headers=HEADERS)


async def _equity(page: Page, window: Window, follower: str | None) -> list[list[float]]:
    whose = user_id(follower) if follower else None
    rows = await page.reads.rows("board_equity", since=since(window), user_id=whose)
    now = await page.reads.row("board_equity_now", user_id=whose)
    points = [[row["bucket_at"].timestamp(), float(row["equity"])] for row in rows]
    if now and now["accounts"]:
        latest = now["reported_at"].timestamp()
        points = [point for point in points if point[0] < latest]
        points.append([latest, float(now["equity"])])
    return points


async def _difference(page: Page, window: Window) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        rows = await page.reads.rows("board_gap", since=since(window), follower=None)
        by_whale = {row["whale_key"]: read_gap(row) for row in rows}
        money = await page.reads.row("board_equity_now", user_id=None)
        return {"gap": total(by_whale.values()), "by_whale": by_whale, "money": money}

    return await shared(page).get(("difference", window), FRESH_S, ask)


async def _flow(page: Page, window: Window) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        begin = since(window)
        counts = await page.reads.row("board_funnel", since=begin)
        assert counts is not None
        letters = await letters_of(page)
        rejected = None if letters is None else letters.rejected_since(begin)
        latency = await page.reads.row("board_latency", since=begin)
        skips = await page.reads.rows("board_skips", since=begin, user_id=None)
        return {
            "counts": counts,
            "rejected": rejected,
            "funnel": _funnel(counts, rejected),
            "stages": _stages(latency),
            "skips": _skips(skips),
        }

    return await shared(page).get(("flow", window), FRESH_S, ask)


async def _fills(page: Page, window: Window) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        return {"fills": await page.reads.rows("board_fills", since=since(window), user_id=None, limit=FILLS)}

    return await shared(page).get(("fills", window), 0.3, ask)


def _funnel(counts: Mapping[str, Any], rejected: int | None) -> list[Bar]:
    """Signals at each step; what was rejected was received as well."""
    received = counts["valid"] + (rejected or 0)
    steps = [
        ("Received", "published by detectors", received),
        ("Valid", "followed the contract", counts["valid"]),
        ("Decided", "for every follower of the whale", counts["decided"]),
        ("Sent", "at least one order was requested", counts["sent"]),
        ("Filled", "at least one copy was filled", counts["filled"]),
    ]
    return [Bar(label, hint, count, 1000 * count / received if received else 0) for label, hint, count in steps]


def _stages(row: Mapping[str, Any] | None) -> list[tuple[str, str, float, float, float, float]]:
    """Label, hint, p50 and p99 in ms, and both as lengths of 1000 on a scale that the slowest fills."""
    if row is None or not row["orders"]:
        return []
    slowest = max(row[name][1] for name in STAGES) or 1.0
    return [(*STAGES[name], *row[name], *(max(2.0, 1000 * value / slowest) for value in row[name])) for name in STAGES]


def _skips(rows: list[dict[str, Any]]) -> list[Bar]:
    most = max((row["decisions"] for row in rows), default=1)
    return [Bar(row["reason"], "", row["decisions"], float(Decimal(1000) * row["decisions"] / most)) for row in rows]
