"""`/operations`: lag, the queue and its gate, switches with a confirm step, rejected and dead letters, the audit trail."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from api.control import get_control
from api.dashboard.acting import Acting, refusals
from api.dashboard.board import board_of, trail_of
from api.dashboard.letters import letters_of
from api.dashboard.shell import Open, Page, PageProblem
from api.reading import freshness_of
from engine.domain.messages import ControlRecord, ReleaseSignals, SetGate, SetSwitch
from engine.domain.values import Priority, Scope, SwitchState

router = APIRouter(include_in_schema=False)
Deed = Literal["close_only", "halt", "halt_exits", "running", "pause", "unpause", "release"]
Target = Annotated[str, Query(max_length=128)]
Reason = Annotated[str, Form(max_length=500)]
SAYS: Final[dict[str, tuple[str, str, str]]] = {
    "close_only": ("Only exits from now on", "No new copy is opened. Exits go on.", "Set close only"),
    "halt": ("Stop copying", "No new copy is opened, and orders that wait are not sent. Exits go on.", "Halt"),
    "halt_exits": ("Stop everything", "Nothing is sent any more, exits included: positions stay as they are.", "Halt, exits too"),
    "running": ("Lift the halt", "Copies are opened again from the next signal on.", "Lift it"),
    "pause": ("Pause the queue", "Signals that open wait at the gate, and expire there. Exits pass.", "Pause"),
    "unpause": ("Open the gate", "What waits and has not expired is decided at once.", "Open"),
    "release": ("Let the next 10 signals pass", "The gate stays closed behind them.", "Release"),
}


@router.get("/operations")
async def operations(page: Open, done: Annotated[str, Query(max_length=40)] = "") -> HTMLResponse:
    """The page. `done` is the position of what was just written."""
    page.everything()
    return page.show("operations.html", done=done, **await _state(page))


@router.get("/fragments/operations")
async def operations_state(page: Open) -> HTMLResponse:
    """Everything that changes."""
    page.everything()
    return page.show("parts/operations.html", **await _state(page))


@router.get("/fragments/banner")
async def banner(page: Open) -> HTMLResponse:
    """What everybody should know: a halt, a pause, tables that are behind."""
    page.everything()
    fresh = freshness_of(await page.reads.partitions())
    return page.show("parts/banner.html", board=await board_of(page), fresh=fresh)


@router.get("/operations/confirm")
async def confirm(page: Open, deed: Deed, scope: Scope = "global", target: Target = "") -> HTMLResponse:
    """What will happen, and the button that does it."""
    page.everything()
    page.needs("admin")
    if (scope == "global") != (not target):
        raise PageProblem(422, "Whom?", "Say which exchange, whale or follower is meant; a global switch has none.")
    return page.show("confirm.html", deed=deed, scope=scope, target=target, says=SAYS[deed])


@router.post("/operations/do")
async def act(
    page: Acting,
    deed: Annotated[Deed, Form()],
    scope: Annotated[Scope, Form()] = "global",
    target: Annotated[str, Form(max_length=128)] = "",
    reason: Reason = "",
) -> RedirectResponse:
    """Write it to the log."""
    page.needs("admin")
    page.everything()
    lowest = await _lowest(page) if deed == "pause" else "low"
    place = await page.control(lambda request_id, actor: _record(deed, scope, target, reason, lowest, request_id, actor))
    return RedirectResponse("/operations?" + urlencode({"done": place}), 303)


async def _lowest(page: Page) -> Priority:
    """What passes the gate now: a pause leaves it as it is."""
    with refusals():
        return (await get_control(page.request).now()).gate.min_priority


def _record(deed: Deed, scope: Scope, target: str, reason: str, lowest: Priority, request_id: str, actor: str) -> ControlRecord:
    if deed == "pause" or deed == "unpause":
        return SetGate(request_id=request_id, paused=deed == "pause", min_priority=lowest, actor=actor)
    if deed == "release":
        return ReleaseSignals(request_id=request_id, max_signals=10, actor=actor)
    state: SwitchState = deed
    return SetSwitch(request_id=request_id, scope=scope, target=target, state=state, reason=reason, actor=actor)


async def _state(page: Page) -> dict[str, Any]:
    partitions = await page.reads.partitions()
    queue = await page.reads.rows("queue_counts")
    return {
        "partitions": partitions,
        "fresh": freshness_of(partitions),
        "queue": queue,
        "waiting": await page.reads.rows("pending_signals", lowest="low", limit=10),
        "board": await board_of(page),
        "trail": await trail_of(page),
        "letters": await letters_of(page),
    }
