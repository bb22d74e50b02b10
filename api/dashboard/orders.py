"""An order's page: the causal chain from the whale's fill to the venue's answer, with log positions and milliseconds. A signal's page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.dashboard.shared import shared
from api.dashboard.shell import Open, Page, nothing_here
from api.dashboard.words import money, quantity, signed_bps, spaced
from engine.config import Settings
from engine.log.executions import Places, Sought, find_executions
from engine.topology import EVENTS, EXECUTIONS, SIGNALS, Topic, shard_of
from projections.reads import Row

router = APIRouter(include_in_schema=False)
Key = Annotated[str, Path(max_length=128)]
DECISIONS: Final = 200
FRESH_S: Final = 1.0
"""How long the places of an order's records are told again."""


class Link(NamedTuple):
    """One link of the chain: what happened, when, how long after the one before, where it stands on the log."""

    title: str
    at: datetime | None
    since_ms: float | None
    total_ms: float | None
    place: str
    words: str
    done: bool


@router.get("/orders/{order:path}")
async def order_page(page: Open, order: Key) -> HTMLResponse:
    """The page."""
    return page.show("order.html", **await _order(page, order))


@router.get("/fragments/orders/{order:path}")
async def order_chain(page: Open, order: Key) -> HTMLResponse:
    """The chain alone: it grows while the order is under way."""
    return page.show("parts/order.html", **await _order(page, order))


@router.get("/signals/{signal:path}")
async def signal_page(page: Open, signal: Key) -> HTMLResponse:
    """Every follower's decision on one signal."""
    told = await page.reads.row("story_signal", subject=signal)
    if told is None:
        raise nothing_here(f"The signal {signal!r}")
    only = page.viewer.follower_id
    decisions = await page.reads.rows("story_decisions", signal=told["id"], follower=only)
    orders: dict[str, list[Row]] = {}
    for each in await page.reads.rows("story_orders", cause=told["signal_key"], follower=only):
        orders.setdefault(each["follower_key"], []).append(each)
    shown = [row | {"action": told["action"], "orders": orders.get(row["follower_key"], [])} for row in decisions[:DECISIONS]]
    return page.show("signal.html", signal=told, decisions=shown, more=len(decisions) - len(shown))


async def _order(page: Page, key: str) -> dict[str, Any]:
    order = await page.reads.row("board_order", order=key)
    if order is None or not page.viewer.sees(order["follower_key"]):
        raise nothing_here(f"The order {key!r}")
    signal = await page.reads.row("story_signal", subject=order["cause"]) if order["signal_id"] else None
    settings: Settings = page.request.app.state.settings
    places = await _places_of(page, settings, order)
    return {"order": order, "signal": signal, "chain": list(chain_of(settings, order, signal, places))}


async def _places_of(page: Page, settings: Settings, order: Row) -> Places:
    """Where the executor's records about the order lie, as far as the log tells."""
    stages = (order["attempted_at"], order["unknown_at"], order["settled_at"])
    if not any(stages):
        return Places()
    key = order["command_key"]
    sought = Sought(key, shard_of(order["follower_key"], settings.partitions), order["decided_at"] or order["created_at"])
    found = await shared(page).get(("executions", key, *stages), FRESH_S, lambda: find_executions(settings, [sought]))
    return found.get(key, Places())


def chain_of(settings: Settings, order: Row, signal: Row | None, places: Places) -> Iterator[Link]:
    """The links in order of time. Those of the executor carry its clock, the venue's answer included."""
    before, first = None, None
    for title, at, place, words in _links(settings, order, signal, places):
        since = (at - before).total_seconds() * 1000 if at and before else None
        total = (at - first).total_seconds() * 1000 if at and first else None
        yield Link(title, at, since, total, place, words, at is not None)
        before, first = at or before, first or at


def _place(settings: Settings, topic: Topic, partition: Any, offset: Any = None) -> str:
    return f"{settings.topic(topic)} [{partition}]" + ("" if offset is None else f" @ {offset}")


def _links(settings: Settings, order: Row, signal: Row | None, places: Places) -> Iterator[tuple[str, datetime | None, str, str]]:
    shard = shard_of(order["follower_key"], settings.partitions)
    if signal is not None:
        yield "The whale's fill was detected", signal["detected_at"], "", _whale_words(signal)
        place = _place(settings, SIGNALS, signal["source_partition"], signal["source_offset"])
        yield "The signal was published", signal["published_at"], place, f"signal {signal['signal_key']}, priority {signal['priority']}"
        yield "The follower's shard received it", order["received_at"], f"shard {shard}", "through the sequencer and the shard's inbox"
    elif order["cause"]:
        yield "Asked for without a signal", order["received_at"] or order["decided_at"], "", f"request {order['cause']}"
    event = order["event_offset"] if order["event_offset"] is not None else order["order_offset"]
    yield "It was decided to copy", order["decided_at"], _place(settings, EVENTS, order["order_shard"], event), _decision_words(order)
    requested = _place(settings, EVENTS, order["order_shard"], order["order_offset"])
    yield "The order was requested", order["created_at"], requested, _order_words(order)
    sent, unknown, end = (_place(settings, EXECUTIONS, shard, at) for at in (places.attempted, places.unknown, places.settled))
    yield "It was sent to the venue", order["attempted_at"], sent, _attempt_words(order)
    if order["unknown_at"] is not None:
        yield "The answer proved nothing", order["unknown_at"], unknown, "queried until it was certain; never sent twice"
    yield "The venue answered", order["acknowledged_at"], end, _answer_words(order)
    yield "Its end is known", order["settled_at"], end, _end_words(order)


def _whale_words(signal: Row) -> str:
    text = f"{signal['whale_key']}: {signal['action']} {signal['symbol']}, {signal['side']} {quantity(signal['amount'])} at "
    return text + quantity(signal["price"])


def _decision_words(order: Row) -> str:
    if order["outcome"] is None:
        return "no decision of a copy stands behind it"
    if order["kind"] == "exit":
        return f"exit of {quantity(order['quantity'])}; settings version {order['config_version']}"
    cuts = "".join(f"; cut by {spaced(cap)} from {_told(before)} to {_told(after)}" for cap, before, after in order["cuts"] or ())
    size = f"{spaced(order['sizing'])}: wanted {money(order['wanted_quote'])} USDT, got {money(order['final_quote'])} USDT"
    return f"{size}{cuts}; settings version {order['config_version']}"


def _told(amount: str) -> str:
    """An amount that the log has as text."""
    return money(Decimal(amount))


def _order_words(order: Row) -> str:
    limit = f", limit {quantity(order['limit_price'])}" if order["limit_price"] is not None else ""
    return f"{order['kind']}: {order['side']} {quantity(order['quantity'])} {order['symbol']} on {order['exchange']}{limit}"


def _attempt_words(order: Row) -> str:
    if order["attempted_at"] is None:
        return "not sent" if order["settled_at"] is not None else ""
    return f"attempt {order['attempts']}" if order["attempts"] != 1 else "one attempt, written down before the request"


def _answer_words(order: Row) -> str:
    return f"venue's order {order['exchange_order_id']}" if order["exchange_order_id"] else ""


def _end_words(order: Row) -> str:
    if order["settled_at"] is None:
        return f"still {spaced(order['status'])}"
    if not order["filled"]:
        code = f" ({order['raw_code']})" if order["raw_code"] else ""
        return f"{order['status']}: {spaced(order['reason'] or 'nothing traded')}{code}"
    fee = order["fee_quote"] + order["fee_base"] * order["average_price"]
    text = f"{order['status']}: {quantity(order['filled'])} at {quantity(order['average_price'])}, fee {money(fee)} USDT"
    return text + (f", {signed_bps(order['slippage_bps'])} against the whale" if order["slippage_bps"] is not None else "")
