"""`/followers` and one follower: equity, positions by whale, decisions with reasons, limits and how close they are."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse

from api.dashboard.closeness import meters
from api.dashboard.gap import read_gap, total
from api.dashboard.overview import since
from api.dashboard.shell import Open, Page, nothing_here
from api.pages import Cursor, read_number, read_time
from projections.reads import Row

router = APIRouter(include_in_schema=False)
FollowerKey = Annotated[str, Path(max_length=128)]
Outcome = Literal["copied", "reduced", "skipped"]
ORDER: Final = ("decided_at", "signal_id", "user_id")
READERS: Final = (read_time, read_number, read_number)
ON_A_PAGE: Final = 50
DECISIONS: Final = 25
FILLS: Final = 10


@router.get("/followers")
async def followers(
    page: Open, search: Annotated[str | None, Query(max_length=128)] = None, after: Annotated[str, Query(max_length=128)] = ""
) -> HTMLResponse:
    """By name, from `after` on."""
    wanted = (search or "").strip() or None
    rows = await page.reads.rows("board_followers", only=page.viewer.follower_id, search=wanted, after=after, limit=ON_A_PAGE + 1)
    following = rows[ON_A_PAGE - 1]["follower_key"] if len(rows) > ON_A_PAGE else None
    return page.show("followers.html", followers=rows[:ON_A_PAGE], search=wanted or "", after=after, following=following)


async def find(page: Page, follower: str) -> Row:
    """The follower, if it is there and the viewer's business. Errors: PageProblem."""
    row = await page.reads.row("board_follower", follower=follower) if page.viewer.sees(follower) else None
    if row is None:
        raise nothing_here(f"The follower {follower!r}")
    return row


@router.get("/followers/{follower:path}")
async def follower_page(page: Open, follower: FollowerKey, outcome: Outcome | None = None, cursor: Cursor = None) -> HTMLResponse:
    """The page."""
    user = await find(page, follower)
    follows = await page.reads.rows("board_follows", user_id=user["id"])
    parts = await _state(page, user) | await _decisions(page, user, outcome, cursor)
    return page.show("follower.html", user=user, follows=follows, **parts)


@router.get("/fragments/followers/{follower:path}/state")
async def follower_state(page: Open, follower: FollowerKey) -> HTMLResponse:
    """Equity, result, limits, positions and fills."""
    user = await find(page, follower)
    return page.show("parts/follower_state.html", user=user, **await _state(page, user))


@router.get("/fragments/followers/{follower:path}/decisions")
async def follower_decisions(page: Open, follower: FollowerKey, outcome: Outcome | None = None, cursor: Cursor = None) -> HTMLResponse:
    """Its decisions alone."""
    user = await find(page, follower)
    return page.show("parts/decisions.html", user=user, **await _decisions(page, user, outcome, cursor))


async def _state(page: Page, user: Row) -> dict[str, Any]:
    number = user["id"]
    money = await page.reads.row("board_equity_now", user_id=number)
    used = await page.reads.row("board_used", user_id=number)
    assert money is not None
    assert used is not None
    gap = total(read_gap(row) for row in await page.reads.rows("board_gap", since=since("24h"), follower=user["follower_key"]))
    lots: dict[str, list[Row]] = {}
    for lot in await page.reads.rows("board_lots", user_id=number):
        lots.setdefault(lot["whale_key"] or "", []).append(lot)
    fills = await page.reads.rows("board_fills", since=since("7d"), user_id=number, limit=FILLS)
    limits = meters(user["limits"] or {}, used)
    return {"money": money, "gap": gap, "lots": lots, "fills": fills, "meters": limits, "today": used["today"]}


async def _decisions(page: Page, user: Row, outcome: Outcome | None, cursor: str | None) -> dict[str, Any]:
    filters = {"user_id": user["id"], "outcome": outcome}
    rows, following = await page.reads.page("list_decisions", filters, ORDER, READERS, cursor, DECISIONS)
    actions = {row["id"]: row["action"] for row in await page.reads.rows("board_actions", signals=[row["signal_id"] for row in rows])}
    told = [row | {"action": actions.get(row["signal_id"], "")} for row in rows]
    return {"decisions": told, "outcome": outcome, "cursor": cursor, "following": following}
