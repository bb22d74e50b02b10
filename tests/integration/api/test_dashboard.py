"""The dashboard's pages on a real Postgres: who may see them, that the gap's parts add up, that every page shows what is there."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from api.dashboard.gap import read_gap, total
from api.dashboard.whales import FILLS
from engine.domain.events import CopySkipped, EquityRecorded
from engine.domain.messages import PlaceOrder
from engine.domain.values import Limits
from projections.ids import user_id
from tests.integration.api.world import alone
from tests.logbook import admitted, configured, copied, decided, ended, followed, order, signal
from tests.tables import Tables

D = Decimal
NOW_MS = int(datetime.now(UTC).timestamp() * 1000) - 60_000
PAGES = ("/", "/whales", "/whales/whale-a", "/followers", "/followers/f", "/operations", "/guide", "/guide?follower=f", "/signals/s-0")
FRAGMENTS = (
    "/fragments/difference",
    "/fragments/flow",
    "/fragments/fills",
    "/fragments/whales",
    "/fragments/whales/whale-a",
    "/fragments/followers/f/state",
    "/fragments/followers/f/decisions",
    "/fragments/operations",
    "/fragments/banner",
    "/fragments/guide/play?follower=f",
    "/fragments/guide/copies?follower=f",
)


def told_order(number: int, rng: random.Random, kind: str, follower: str) -> PlaceOrder:
    """An order at some price of some whale."""
    return order(
        follower,
        f"s-{number}",
        kind=kind,
        side="buy" if kind == "open" else "sell",
        quantity=D(rng.randint(1, 50)) / 1000,
        reference_price=D(rng.randint(59_000, 61_000)),
        whale_id=rng.choice(("whale-a", "whale-b")),
        detected_at=NOW_MS - 5_000 if number % 4 == 1 else NOW_MS,
        published_at=NOW_MS + 5,
        received_at=NOW_MS + 10,
        decided_at=NOW_MS + 11,
    )


def copy_of(placed: PlaceOrder, rng: random.Random, mark: bool) -> Any:
    """The decision behind it."""
    event = copied(placed.follower_id, placed, signal_id=placed.cause, at=NOW_MS + 11)
    inputs = {"mark": placed.reference_price + rng.randint(-50, 50)} if mark else {}
    wanted = placed.quantity * placed.reference_price * rng.choice((D(1), D("1.5"), D("0.9")))
    mode = "fixed_quote" if placed.kind == "open" else "exit"
    return replace(event, sizing=replace(event.sizing, mode=mode, inputs=inputs, wanted_quote=wanted))


def fill(tables: Tables, signals: int = 12, seed: int = 1) -> list[PlaceOrder]:
    """Followers f and g copy, with fills, a partial fill, a miss, a fee in the base coin, marks and none."""
    rng, placed = random.Random(seed), []
    for name in ("f", "g"):
        tables.tell(0, configured(name, at=NOW_MS), followed(name, at=NOW_MS))
        tables.tell(0, _equity(name))
    for number in range(signals):
        told = signal(f"s-{number}", detected_at=NOW_MS + number, published_at=NOW_MS + number + 5)
        each = told_order(number, rng, "exit" if number % 3 == 2 else "open", rng.choice("fg"))
        part = each.quantity if number % 5 else each.quantity / 2
        end: dict[str, Any] = {
            "average_price": each.reference_price + rng.randint(-80, 80),
            "filled": part,
            "fee_base": D("0.0001") if number % 4 == 0 else D(0),
        }
        if number % 7 == 6:
            end = {"status": "missed", "reason": "signal_expired", "filled": D(0), "average_price": None, "fee_quote": D(0)}
        skip = CopySkipped(
            originator_id="h", originator_version=1, at=NOW_MS, signal_id=told.signal_id, whale_id="whale-a", symbol=told.symbol,
            reason="max_exposure", limit="100", value="120.5", config_version=2,
        )  # fmt: skip
        at = {"attempted_at": NOW_MS + 20, "acknowledged_at": NOW_MS + 50, "settled_at": NOW_MS + 55}
        tables.tell(0, admitted(0, told, number, at=NOW_MS + 10), copy_of(each, rng, number % 2 == 0), skip, ended(each, **end | at))
        tables.tell(0, decided(0, told.signal_id, followers=2, copied=1))
        tables.tell(1, admitted(1, told, number), decided(1, told.signal_id))
        placed.append(each)
    return placed


def _equity(name: str) -> EquityRecorded:
    return EquityRecorded(
        originator_id=name, originator_version=5, at=NOW_MS, venue="binance", equity=D(1000), available=D(900), reported_at=NOW_MS
    )


@pytest.fixture
async def person(app: FastAPI, stranger: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with a session of an admin."""
    made = await app.state.guard.store.add_key("person", ["admin"])
    stranger.headers["Accept"] = "text/html"
    answer = await stranger.post("/login", data={"api_key": made.secret.get_secret_value()})
    assert answer.status_code == 303
    yield stranger


@pytest.mark.parametrize("seed", range(3))
async def test_the_gap_adds_up(app: FastAPI, stranger: httpx.AsyncClient, tables: Tables, seed: int) -> None:
    """The parts are summed apart from each other and from the result; the followers' result is counted here once more, order by order."""
    placed = fill(tables, 20, seed)
    since = datetime.now(UTC) - timedelta(hours=1)
    rows = await app.state.reads.rows("board_gap", since=since, follower=None)
    gap = total(read_gap(row) for row in rows)
    parts = gap.delay + gap.slippage + gap.unsplit + gap.fees + gap.sizing
    assert abs(gap.perfect - parts - gap.actual) < D("1e-9")
    assert all((gap.delay, gap.slippage, gap.unsplit, gap.fees, gap.sizing)), gap
    newest = placed[-1].reference_price
    assert newest is not None
    trades = (await app.state.reads.rows("board_fills", since=since, user_id=None, limit=100))[::-1]
    signs = {"buy": 1, "sell": -1}
    result = sum(signs[each["side"]] * each["filled"] * (newest - each["average_price"]) for each in trades)
    with psycopg.connect(tables.dsn) as connection:
        [fees] = connection.execute("SELECT sum(fee_quote + fee_base * average_price) FROM trades WHERE filled > 0").fetchone() or [0]
    assert gap.fees == fees
    assert abs(result - fees - gap.actual) < D("1e-9")
    assert gap.fills == len(trades)


async def test_a_perfect_copy_has_no_gap(app: FastAPI, stranger: httpx.AsyncClient, tables: Tables) -> None:
    told, each = signal("s-0", detected_at=NOW_MS), order("f", "s-0")
    wanted = each.quantity * (each.reference_price or 0)
    event = copied("f", each, signal_id="s-0", at=NOW_MS)
    event = replace(event, sizing=replace(event.sizing, inputs={"mark": each.reference_price}, wanted_quote=wanted))
    tables.tell(0, configured("f", at=NOW_MS), admitted(0, told, 0, at=NOW_MS), event, ended(each, fee_quote=D(0)))
    since = datetime.now(UTC) - timedelta(hours=1)
    gap = total(read_gap(row) for row in await app.state.reads.rows("board_gap", since=since, follower=None))
    assert (gap.lost, gap.fills, gap.notional) == (0, 1, wanted)


async def test_what_is_left_is_valued_at_the_mark(app: FastAPI, stranger: httpx.AsyncClient, tables: Tables) -> None:
    each = order("f", "s-0")
    event = copied("f", each, signal_id="s-0", at=NOW_MS)
    tables.tell(0, configured("f", at=NOW_MS), admitted(0, signal("s-0", detected_at=NOW_MS), 0, at=NOW_MS), event, ended(each))
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        values = (each.venue, each.symbol, D(61_000), datetime.now(UTC))
        connection.execute("INSERT INTO market_marks (venue, symbol, price, marked_at, position) VALUES (%s, %s, %s, %s, 1)", values)
    since = datetime.now(UTC) - timedelta(hours=1)
    gap = total(read_gap(row) for row in await app.state.reads.rows("board_gap", since=since, follower=None))
    assert gap.actual == each.quantity * 1000 - D("0.06")
    [lot] = await app.state.reads.rows("board_lots", user_id=user_id("f"))
    assert lot["open_result"] == each.quantity * 1000


async def test_strangers_are_sent_to_the_login_and_back(stranger: httpx.AsyncClient) -> None:
    stranger.headers["Accept"] = "text/html"
    answer = await stranger.get("/followers?search=x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Ffollowers%3Fsearch%3Dx")
    form = await stranger.get("/login?next=/followers&failed=1")
    assert (form.status_code, "That key does not work" in form.text) == (200, True)
    fragment = await stranger.get("/fragments/flow", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/login")
    unknown = await stranger.get("/nowhere")
    assert (unknown.status_code, "Nothing here" in unknown.text) == (404, True)
    assert (await stranger.get("/nowhere", headers={"Accept": "*/*"})).headers["content-type"] == "application/problem+json"


async def test_every_page_shows_what_is_there(person: httpx.AsyncClient, tables: Tables) -> None:
    placed = fill(tables)
    for path in (*PAGES, *FRAGMENTS, f"/orders/{placed[0].command_id}", f"/fragments/orders/{placed[6].command_id}"):
        answer = await person.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        assert "<script>" not in answer.text and "style=" not in answer.text, path
    overview = (await person.get("/")).text
    assert "Where the difference went" in overview and "max exposure" in overview
    assert "signal expired" in (await person.get(f"/orders/{placed[6].command_id}")).text
    equity = (await person.get("/fragments/equity.json?window=1h")).json()
    assert equity[-1] == [NOW_MS / 1000, 2000.0]
    assert "Kafka does not answer" in (await person.get("/fragments/banner")).text, "there is no broker here"
    assert (await person.get("/static/live.js")).status_code == 200


async def test_pages_that_are_not_there(person: httpx.AsyncClient) -> None:
    for path in ("/whales/nobody", "/followers/nobody", "/orders/none", "/signals/none", "/followers/a%2Fb"):
        answer = await person.get(path)
        assert (answer.status_code, "Nothing here" in answer.text) == (404, True), path
    assert (await person.get("/?window=9y")).status_code == 422
    assert (await person.get("/operations/confirm?deed=halt&scope=whale")).status_code == 422
    assert (await person.get("/operations/confirm?deed=halt&scope=whale&target=%3Cb%3E")).text.count("<b>&lt;b&gt;</b>") == 1


async def test_forms_need_their_token(person: httpx.AsyncClient) -> None:
    form = {"deed": "halt", "once": "0" * 24}
    refused = await person.post("/operations/do", data=form)
    assert (refused.status_code, "CSRF" in refused.text) == (403, True)
    token = (await person.get("/operations/confirm?deed=halt")).text.split('name="csrf_token" value="')[1].split('"')[0]
    away = await person.post("/operations/do", data=form | {"csrf_token": token})
    assert (away.status_code, "Nothing was written" in away.text) == (503, True)
    for extra, status in (({"once": "not hex"}, 422), ({"deed": "explode"}, 422)):
        assert (await person.post("/operations/do", data=form | {"csrf_token": token} | extra)).status_code == status
    for size in ("much", "0", "-5", "1e3", "NaN"):
        fields = {"csrf_token": token, "once": "1" * 24, "follower": "x", "venue": "bybit", "size": size}
        wrong = await person.post("/guide/follower", data=fields)
        assert (wrong.status_code, "size" in wrong.text) == (422, True), "before anything is written"


async def test_the_drawdown_is_of_the_account_that_copies(person: httpx.AsyncClient, tables: Tables) -> None:
    """As the engine counts it: what lies on another venue neither hides a loss nor makes one."""
    tables.tell(0, configured("f", at=NOW_MS, preferred_exchange="binance", limits=Limits(max_drawdown_percent=D(50))))
    for venue, equity, at in (("binance", 1000, NOW_MS - 600_000), ("binance", 600, NOW_MS), ("bybit", 5000, NOW_MS)):
        tables.tell(0, replace(_equity("f"), venue=venue, equity=D(equity), reported_at=at, at=at))
    page = re.sub(r"\s+", " ", (await person.get("/followers/f")).text)
    assert "40.00 % of 50.00 %" in page


async def test_pages_of_fills_meet_within_a_millisecond(person: httpx.AsyncClient, tables: Tables) -> None:
    """Fills of one order of a whale share their time: the next page begins behind the last one that was shown, not behind its time."""
    for number in range(FILLS + 5):
        tables.tell(0, admitted(0, signal(f"s-{number}", detected_at=NOW_MS), number, at=NOW_MS))
    seen: list[str] = []
    path: str | None = "/whales/whale-a"
    while path:
        text = (await person.get(path)).text
        seen += re.findall(r'href="/signals/(s-\d+)"', text)
        older = re.search(r'href="(/whales/whale-a\?before=[^"]+)"', text)
        path = older[1] if older else None
    assert sorted(seen) == sorted(f"s-{number}" for number in range(FILLS + 5))
    assert (await person.get("/whales/whale-a?before=2026-01-01T00:00:00Z")).status_code == 400


async def test_a_follower_of_any_name_comes_to_its_page(app: FastAPI, stranger: httpx.AsyncClient, tables: Tables) -> None:
    name = "a#b?c/50%20"
    tables.tell(0, configured(name, at=NOW_MS))
    made = await app.state.guard.store.add_key("odd", ["read"], name)
    stranger.headers["Authorization"] = f"Bearer {made.secret.get_secret_value()}"
    page = await stranger.get("/", follow_redirects=True)
    assert (page.status_code, "<h1>a#b?c/50%20</h1>" in page.text) == (200, True)


async def test_pages_are_counted_as_requests(postgres: str, empty_tables: str) -> None:
    async with alone(postgres, empty_tables, api_rate=0.01, api_burst=5.0, api_guesses=5.0) as world:
        assert [(await world.ask("admin", "GET", "/followers")).status_code for _ in range(6)] == [200] * 5 + [429]
        guesses = [(await world.ask("wrong", "GET", "/followers")).status_code for _ in range(30)]
        assert (guesses[0], guesses[-1]) == (303, 429), "guessing keys is slow here too"


async def test_a_key_of_one_follower_sees_that_follower_only(app: FastAPI, stranger: httpx.AsyncClient, tables: Tables) -> None:
    placed = fill(tables)
    made = await app.state.guard.store.add_key("f alone", ["read", "follow"], "f")
    stranger.headers["Accept"] = "text/html"
    await stranger.post("/login", data={"api_key": made.secret.get_secret_value()})
    assert (await stranger.get("/")).headers["location"] == "/followers/f"
    assert (await stranger.get("/followers/f")).status_code == 200
    listed = (await stranger.get("/followers")).text
    assert "/followers/f" in listed and "/followers/g" not in listed
    own, foreign = (next(each for each in placed if each.follower_id == name) for name in "fg")
    assert (await stranger.get(f"/orders/{own.command_id}")).status_code == 200
    for path in (f"/orders/{foreign.command_id}", "/followers/g", "/fragments/followers/g/state"):
        assert (await stranger.get(path)).status_code == 404, path
    assert "/followers/g" not in (await stranger.get(f"/signals/{foreign.cause}")).text
    for path in ("/whales", "/whales/whale-a", "/operations", "/fragments/flow", "/fragments/banner", "/operations/confirm?deed=halt"):
        assert (await stranger.get(path)).status_code == 403, path
    assert (await stranger.get("/fragments/equity.json?follower=g")).json()[-1][1] == 1000.0, "its own, whatever is asked"
    assert (await stranger.get("/guide?follower=g")).status_code == 403
    token = (await stranger.get("/guide")).text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": token, "once": "2" * 24, "follower": "g"}
    assert (await stranger.post("/guide/follower", data=form | {"venue": "bybit", "size": "10"})).status_code == 403
    assert (await stranger.post("/guide/signal", data=form | {"deed": "buy"})).status_code == 403
    assert (await stranger.post("/operations/do", data=form | {"deed": "halt"})).status_code == 403
