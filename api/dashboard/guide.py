"""`/guide`, the first run: a paper follower is created, a practice whale trades, the copy appears. By the records that everybody writes.

The whale belongs to the follower (`practice-<follower>`), so a play never touches what real whales told.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import TypeAdapter, ValidationError

from api.dashboard.acting import Acting, Action
from api.dashboard.prices import newest_mark
from api.dashboard.shell import Open, Page, PageProblem
from api.dashboard.whales import fills_of
from api.errors import Conflict
from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.contracts.types import PositiveAmount
from engine.domain.messages import ConfigureFollower, FollowWhale
from engine.domain.symbols import lookup
from engine.domain.values import SPOT_VENUES, FollowerSettings, FollowTerms, Limits, Side, Venue
from engine.errors import ConfigInvalid, DependencyUnreachable
from engine.executor.accounts.paper import BALANCE, open_paper_account, paper_venue
from projections.ids import user_id

router = APIRouter(include_in_schema=False)
Name = Annotated[str, Query(max_length=64)]
MOST_CHARS: Final = 64
NOTIONAL: Final = Decimal(5_000)
"""What the practice whale buys for, in quote."""
_AMOUNT: Final[TypeAdapter[Decimal]] = TypeAdapter(PositiveAmount)
DEVIATION: Final = Limits(max_deviation_bps=Decimal(500), max_exposure_quote=Decimal(2_000), max_open_positions=5)


def whale_of(follower: str) -> str:
    """The follower's practice whale, and nobody else's."""
    whale = f"practice-{follower}"
    return whale if len(whale) <= MOST_CHARS else f"{whale[:47]}-{sha256(follower.encode()).hexdigest()[:16]}"


@router.get("/guide")
async def guide(page: Open, follower: Name = "", after: Annotated[str | None, Query(max_length=40)] = None) -> HTMLResponse:
    """The page. `after` is the position of what was just written: it is waited for."""
    if after:
        await page.reads.wait_for(after)
    settings: Settings = page.request.app.state.settings
    suggested = page.viewer.follower_id or f"me-{secrets.token_hex(2)}"
    state = await _play(page, follower) | await _copies(page, follower) if follower else {}
    return page.show(
        "guide.html", follower=follower, suggested=suggested, simulated=paper_venue(settings) is not None, balance=BALANCE, **state
    )


@router.get("/fragments/guide/play")
async def guide_play(page: Open, follower: Name) -> HTMLResponse:
    """Whether the follower is ready, and then the whale's buttons."""
    return page.show("parts/guide_play.html", follower=follower, **await _play(page, follower))


@router.get("/fragments/guide/copies")
async def guide_copies(page: Open, follower: Name) -> HTMLResponse:
    """What became of the plays."""
    return page.show("parts/guide_copies.html", follower=follower, **await _copies(page, follower))


@router.post("/guide/follower")
async def create_follower(
    page: Acting, follower: Annotated[str, Form(max_length=64)], venue: Annotated[Venue, Form()], size: Annotated[str, Form(max_length=20)]
) -> RedirectResponse:
    """Settings, a follow of the practice whale, a paper account."""
    page.needs("follow")
    name = follower.strip()
    if not page.viewer.sees(name):
        raise PageProblem(403, "Not with this key", f"Your key sees the follower {page.viewer.follower_id} only.")
    known = await page.reads.row("board_follower", follower=name)
    settings = FollowerSettings(preferred_exchange=venue, limits=DEVIATION)
    terms = FollowTerms(trade_size_usdt=_amount(size), min_size_policy="round_up", start_mode="now")

    def configure(request_id: str, actor: str) -> ConfigureFollower:
        if known:  # And not by this form: what it has written already is not made again.
            raise Conflict(f"The follower {name!r} is known: take another name.")
        return ConfigureFollower(request_id=request_id, follower_id=name, settings=settings, actor=actor)

    def follow(request_id: str, actor: str) -> FollowWhale:
        return FollowWhale(request_id=request_id, follower_id=name, whale_id=whale_of(name), terms=terms, actor=actor)

    await page.command(name, configure)
    place = await page.command(name, follow)
    if not await _reported(page, name):
        await _open_account(page.settings, name, venue, page.viewer.actor)
    return _back(name, place)


async def _reported(page: Page, follower: str) -> bool:
    """Whether it has an account that works."""
    money = await page.reads.row("board_equity_now", user_id=user_id(follower))
    return money is not None and money["accounts"] > 0


async def _open_account(settings: Settings, follower: str, venue: Venue, actor: str) -> None:
    try:
        await open_paper_account(settings, follower, venue, actor=actor)
    except (ConfigInvalid, DependencyUnreachable) as error:
        raise PageProblem(503, "The follower has no account yet", f"{error} `remora follower add --api-key` gives it one.") from error


@router.post("/guide/signal")
async def play_signal(page: Acting, follower: Annotated[str, Form(max_length=64)], deed: Annotated[Side, Form()]) -> RedirectResponse:
    """The practice whale buys, or sells all that it has."""
    page.needs("trade")
    user = await page.reads.row("board_follower", follower=follower) if page.viewer.sees(follower) else None
    if user is None:
        raise PageProblem(404, "No such follower", "Create it first.")
    held = await _held(page, follower)
    if deed == "sell" and not held:
        raise PageProblem(409, "Nothing to sell", "The whale holds nothing: let it buy first.")
    fields = await _trade(page, user["preferred_exchange"], held, deed)

    def build(request_id: str) -> WhaleSignal:
        return WhaleSignal(signal_id=request_id, whale_id=whale_of(follower), source="manual", detected_at=datetime.now(UTC), **fields)

    return _back(follower, await page.signal(build))


async def _trade(page: Action, venue: Venue, held: Decimal, deed: Side) -> dict[str, Any]:
    """What the whale does, at the price that the follower's venue has now."""
    spot = venue in SPOT_VENUES
    symbol = "BTC/USDT" if spot else "BTC/USDT:USDT"
    listing = lookup(symbol, venue)
    assert listing is not None, "the practice market is in the symbol table"
    mark = await newest_mark(page.settings, venue, listing.venue_symbol)
    if mark is None:
        raise PageProblem(503, "No price yet", "The executor has not reported a price of this market: try again in a moment.")
    price = mark / listing.price_factor
    quantity = held if deed == "sell" else round(NOTIONAL / price, 5)
    return {
        "symbol": symbol,
        "trade_type": "spot" if spot else "futures",
        "action": "close" if deed == "sell" else "increase" if held else "open",
        "side": deed,
        "quantity": quantity,
        "price": price,
        "position_before": held,
        "position_after": held - quantity if deed == "sell" else held + quantity,
    }


def _amount(text: str) -> Decimal:
    try:
        return _AMOUNT.validate_python(text.strip())
    except ValidationError:
        raise PageProblem(422, "This cannot be done", f"size: found {text!r}, expected an amount such as 100.") from None


def _back(follower: str, place: str) -> RedirectResponse:
    return RedirectResponse("/guide?" + urlencode({"follower": follower, "after": place}), 303)


async def _held(page: Page, follower: str) -> Decimal:
    """What the practice whale holds, by its last signal."""
    last, _ = await fills_of(page, whale_of(follower), 1)
    return last[0]["position_after"] if last else Decimal(0)


async def _play(page: Page, follower: str) -> dict[str, Any]:
    if not page.viewer.sees(follower):
        raise PageProblem(403, "Not with this key", f"Your key sees the follower {page.viewer.follower_id} only.")
    user = await page.reads.row("board_follower", follower=follower)
    money = await page.reads.row("board_equity_now", user_id=user_id(follower))
    ready = user is not None and money is not None and money["accounts"] > 0
    return {"user": user, "money": money, "ready": ready, "held": await _held(page, follower), "whale": whale_of(follower)}


async def _copies(page: Page, follower: str) -> dict[str, Any]:
    if not page.viewer.sees(follower):
        return {"plays": []}
    fills, _ = await fills_of(page, whale_of(follower), 10)
    plays = []
    for fill in fills:
        decisions = await page.reads.rows("story_decisions", signal=fill["id"], follower=follower)
        orders = await page.reads.rows("story_orders", cause=fill["signal_key"], follower=follower)
        decision = decisions[0] | {"action": fill["action"]} if decisions else None
        plays.append({"fill": fill, "decision": decision, "orders": orders})
    return {"plays": plays}
