"""The permission matrix: every route, every kind of key, and rows of one's own and of others. A route that is not in the table fails.

`docs/api.md` has the table for people.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.api.world import Route, World, alone, routes

NOBODY = (None, "wrong", "garbage", "revoked", "expired")
GLOBAL = ("read", "follow", "trade", "admin")
IN, OUT, HIDDEN = "allowed", 403, 404


@dataclass(frozen=True)
class Rule:
    """What a route needs. `own`, `other`: what keys of the follower that it is about, and of another one, get."""

    scope: str
    own: str | int = IN
    other: str | int = IN
    body: dict[str, Any] | None = None
    query: dict[str, str] = field(default_factory=dict)
    hides: bool = False
    """A list: nothing of the other follower may be in it."""


FOLLOWER = {"follower_id": "f", "mode": "paper"}
TERMS = {"sizing": "fixed_quote", "trade_size_usdt": "100"}
OWN_SWITCH = {"scope": "follower", "target": "f"}
SIGNAL = {
    "whale_id": "w", "symbol": "BTC/USDT", "trade_type": "spot", "action": "open", "side": "buy", "quantity": "1", "price": "5"
}  # fmt: skip
MATRIX: dict[Route, Rule] = {
    ("GET", "/v1/signals"): Rule("read"),
    ("GET", "/v1/signals/{signal_id}"): Rule("read"),
    ("POST", "/v1/signals"): Rule("trade", OUT, OUT, SIGNAL),
    ("GET", "/v1/decisions"): Rule("read", hides=True),
    ("GET", "/v1/trades"): Rule("read", hides=True),
    ("GET", "/v1/trades/{command_id}"): Rule("read", other=HIDDEN),
    ("GET", "/v1/positions"): Rule("read", hides=True),
    ("POST", "/v1/positions/{position_id}/close"): Rule("trade", other=HIDDEN),
    ("GET", "/v1/followers"): Rule("read", hides=True),
    ("GET", "/v1/followers/{follower_id}"): Rule("read", other=HIDDEN),
    ("GET", "/v1/followers/{follower_id}/pnl"): Rule("read", other=HIDDEN),
    ("GET", "/v1/followers/{follower_id}/equity"): Rule("read", other=HIDDEN),
    ("POST", "/v1/followers"): Rule("follow", other=OUT, body=FOLLOWER),
    ("PATCH", "/v1/followers/{follower_id}"): Rule("follow", other=HIDDEN, body={"paused": True}),
    ("PUT", "/v1/followers/{follower_id}/follows/{whale_id}"): Rule("follow", other=HIDDEN, body=TERMS),
    ("DELETE", "/v1/followers/{follower_id}/follows/{whale_id}"): Rule("follow", other=HIDDEN),
    ("POST", "/v1/followers/{follower_id}/close"): Rule("trade", other=HIDDEN),
    ("GET", "/v1/accounts"): Rule("read", hides=True),
    ("GET", "/v1/whales"): Rule("read"),
    ("GET", "/v1/whales/{whale_id}"): Rule("read"),
    ("POST", "/v1/whales/{whale_id}/resync"): Rule("admin", OUT, OUT, {"symbol": "BTC/USDT", "position": "0"}),
    ("GET", "/v1/queue"): Rule("read"),
    ("POST", "/v1/queue/process"): Rule("admin", OUT, OUT, {}),
    ("PUT", "/v1/queue/gate"): Rule("admin", OUT, OUT, {}),
    ("POST", "/v1/queue/pause"): Rule("admin", OUT, OUT),
    ("POST", "/v1/queue/resume"): Rule("admin", OUT, OUT),
    ("GET", "/v1/switches"): Rule("read"),
    ("POST", "/v1/switches/halt"): Rule("trade", other=OUT, body=OWN_SWITCH),
    ("POST", "/v1/switches/resume"): Rule("trade", other=OUT, body=OWN_SWITCH),
    ("POST", "/v1/switches/flatten"): Rule("trade", other=OUT, body=OWN_SWITCH),
    ("GET", "/v1/audit"): Rule("admin", OUT, OUT),
    ("GET", "/v1/lag"): Rule("read"),
}
STREAM: Route = ("GET", "/v1/live")
"""Endless for who may: only who may not is asked for here; `tests/integration/api_live` has the rest."""
PUBLIC: set[Route] = {("GET", path) for path in ("/livez", "/readyz", "/v1/health", "/metrics", "/openapi.json", "/login", "/static/")}
SESSION: set[Route] = {("POST", "/login"), ("POST", "/logout")}
PAGES: set[Route] = {
    ("GET", "/"),
    ("GET", "/fragments/banner"),
    ("GET", "/fragments/difference"),
    ("GET", "/fragments/equity.json"),
    ("GET", "/fragments/fills"),
    ("GET", "/fragments/flow"),
    ("GET", "/fragments/followers/{follower:path}/decisions"),
    ("GET", "/fragments/followers/{follower:path}/state"),
    ("GET", "/fragments/guide/copies"),
    ("GET", "/fragments/guide/play"),
    ("GET", "/fragments/operations"),
    ("GET", "/fragments/orders/{order:path}"),
    ("GET", "/fragments/whales"),
    ("GET", "/fragments/whales/{whale:path}"),
    ("GET", "/followers"),
    ("GET", "/followers/{follower:path}"),
    ("GET", "/guide"),
    ("GET", "/operations"),
    ("GET", "/operations/confirm"),
    ("GET", "/orders/{order:path}"),
    ("GET", "/signals/{signal:path}"),
    ("GET", "/whales"),
    ("GET", "/whales/{whale:path}"),
    ("POST", "/guide/follower"),
    ("POST", "/guide/signal"),
    ("POST", "/operations/do"),
}
"""Of the dashboard: strangers are sent to the login."""


@pytest.fixture(scope="module")
async def world(postgres: str, empty_tables: str) -> AsyncIterator[World]:
    """One for all of these tests; there is no broker, so what is allowed to write is answered 503 at the most."""
    async with alone(postgres, empty_tables, api_rate=1e6, api_burst=1e6, api_guesses=1e6) as found:
        yield found


def test_every_route_has_its_rule(world: World) -> None:
    assert set(routes(world.app)) == MATRIX.keys() | PUBLIC | SESSION | PAGES | {STREAM}


def told(rule: Rule, route: Route, world: World, number: int) -> dict[str, Any]:
    """The arguments of a request."""
    options: dict[str, Any] = {"method": route[0], "path": route[1].format(**world.ids), "params": rule.query}
    if route[0] != "GET":
        options["headers"] = {"Idempotency-Key": f"{route}-{number}".replace(" ", "")}
    return options if rule.body is None else options | {"json": rule.body}


@pytest.mark.parametrize("route", MATRIX, ids=" ".join)
async def test_matrix(world: World, route: Route) -> None:
    rule = MATRIX[route]
    expected: dict[str | None, str | int] = dict.fromkeys(NOBODY, 401)
    expected |= {kind: IN if kind in (rule.scope, "admin") else OUT for kind in GLOBAL}
    expected |= {"own": rule.own, "other": rule.other}
    for number, (who, wanted) in enumerate(expected.items()):
        answer = await world.ask(who, **told(rule, route, world, number))
        seen = IN if answer.status_code in (200, 202, 409, 503) else answer.status_code
        assert seen == wanted, f"{who}: {answer.status_code} {answer.text}"
        if isinstance(wanted, int):
            assert answer.headers["content-type"] == "application/problem+json"
        assert rule.scope != "read" or wanted != IN or answer.status_code == 200 or route[1] == "/v1/switches", answer.text
    if rule.hides:
        await nothing_of_others(world, route[1])


async def nothing_of_others(world: World, path: str) -> None:
    """Whatever a key of one follower asks, it sees that follower."""
    for query in ({}, {"follower": "f"}, {"follower": "g"}):
        items = (await world.ask("other", "GET", path, params=query)).json()["items"]
        assert {item["follower_id"] for item in items} <= {"g"}, query
        assert not items or query.get("follower") != "f" or path == "/v1/followers"


async def test_the_lists_do_hold_both(world: World) -> None:
    for path in ("/v1/trades", "/v1/positions", "/v1/decisions", "/v1/followers"):
        items = (await world.ask("read", "GET", path)).json()["items"]
        assert {item["follower_id"] for item in items} == {"f", "g"}, path


@pytest.mark.parametrize("scope", ["global", "exchange", "whale"])
async def test_wider_switches_need_admin(world: World, scope: str) -> None:
    body = {"scope": scope} | ({} if scope == "global" else {"target": "binance"})
    for verb in ("halt", "resume", "flatten"):
        for who, status in (("trade", 403), ("own", 403), ("admin", 503)):
            headers = {"Idempotency-Key": f"{verb}-{who}-{scope}"}
            answer = await world.ask(who, "POST", f"/v1/switches/{verb}", json=body, headers=headers)
            assert answer.status_code == status, f"{verb} {who} {answer.text}"


async def test_the_stream_needs_a_key(world: World) -> None:
    for who in NOBODY:
        assert (await world.ask(who, *STREAM)).status_code == 401
    assert (await world.ask("trade", *STREAM)).status_code == 403


@pytest.mark.parametrize("route", sorted(PUBLIC), ids=" ".join)
async def test_public(world: World, route: Route) -> None:
    assert (await world.ask(None, *route)).status_code not in (401, 403)


@pytest.mark.parametrize("route", sorted(PAGES), ids=" ".join)
async def test_pages_send_strangers_to_the_login(world: World, route: Route) -> None:
    path = route[1].replace(":path", "").format(follower="f", whale="whale-a", order="x", signal="s-1")
    for who in (None, "revoked"):
        answer = await world.ask(who, route[0], path)
        assert answer.status_code in (303, 401, 403) and "whale-a" not in answer.text.replace(path, ""), answer.text
        assert answer.status_code != 303 or answer.headers["location"].startswith("/login")
