"""Hostile input: each is a clear 4xx, and nothing of it is repeated as markup or reaches a statement."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from api.bodies import MOST_BYTES
from api.security.buckets import Buckets
from api.security.session import COOKIE, token_for
from tests.integration.api.test_permissions import MATRIX, TERMS
from tests.integration.api.world import World, alone

SQL, HTML = "'; DROP TABLE users; --", "<script>alert(1)</script>"
TEXTS = (SQL, HTML, "%(limit)s {filters}", "\x00", "a\nb", "😀" * 65, "../../etc/passwd")


@pytest.fixture(scope="module")
async def world(postgres: str, empty_tables: str) -> AsyncIterator[World]:
    """One for all of these tests, without a broker."""
    async with alone(postgres, empty_tables, api_rate=1e6, api_burst=1e6, api_guesses=1e6) as found:
        yield found


LISTS = [(path, name) for path, names in (
    ("/v1/signals", ("whale", "symbol", "cursor", "min_position", "status", "priority", "source")),
    ("/v1/trades", ("follower", "signal", "whale", "symbol", "exchange", "kind", "cursor")),
    ("/v1/decisions", ("follower", "signal", "whale", "reason", "outcome", "cursor")),
    ("/v1/positions", ("follower", "whale", "symbol", "status", "cursor")),
    ("/v1/followers", ("whale", "mode", "cursor")),
    ("/v1/accounts", ("follower", "exchange", "cursor")),
    ("/v1/followers/f/equity", ("since", "until", "exchange", "cursor")),
    ("/v1/audit", ("cursor",)),
    ("/v1/whales", ("cursor",)),
) for name in names]  # fmt: skip


@pytest.mark.parametrize(("path", "name"), LISTS, ids=lambda value: value.strip("/"))
async def test_text_in_queries(world: World, path: str, name: str) -> None:
    for text in TEXTS:
        answer = await world.ask("admin", "GET", path, params={name: text})
        assert answer.status_code in (200, 400, 422), (text, answer.text)
        assert "json" in answer.headers["content-type"]
        if answer.status_code == 200:
            assert answer.json()["items"] == []


BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/followers", {"follower_id": "{}"}),
    ("POST", "/v1/followers", {"follower_id": "h", "mode": "{}"}),
    ("POST", "/v1/followers", {"follower_id": "h", "max_leverage": "{}"}),
    ("POST", "/v1/followers", {"follower_id": "h", "{}": 1}),
    ("PATCH", "/v1/followers/f", {"preferred_exchange": "{}"}),
    ("PUT", "/v1/followers/f/follows/w", TERMS | {"symbols_denied": ["{}"]}),
    ("PUT", "/v1/followers/f/follows/w", TERMS | {"limits": {"cooldown_ms": "{}"}}),
    ("POST", "/v1/switches/halt", {"scope": "exchange", "target": "{}"}),
    ("POST", "/v1/switches/halt", {"reason": "{}"}),
    ("POST", "/v1/whales/w/resync", {"symbol": "{}", "position": "1"}),
]


@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=lambda value: str(value)[:50])
async def test_text_in_bodies(world: World, method: str, path: str, body: dict[str, Any]) -> None:
    """Names may be any printable text: those are taken as they are (503: there is no broker), the rest is a 422 with the field."""
    for number, text in enumerate(TEXTS):
        sent = json.dumps(body).replace("{}", json.dumps(text)[1:-1])
        headers = {"Idempotency-Key": f"{number}{hash(path + sent)}", "Content-Type": "application/json"}
        answer = await world.ask("admin", method, path, content=sent, headers=headers)
        assert answer.status_code in (422, 503), (sent, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        if answer.status_code == 422:
            assert answer.json()["errors"][0]["field"].startswith("body")


async def test_names_come_back_as_json(world: World) -> None:
    """A name is shown as it is, in JSON that no browser takes for a page."""
    answer = await world.ask("admin", "GET", f"/v1/whales/{HTML}".replace("/script", ""))
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("pieces", [False, True])
async def test_oversize_bodies(world: World, pieces: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(MOST_BYTES // 1000 + 2):
            yield b"x" * 1000

    content: Any = parts() if pieces else b"x" * (MOST_BYTES + 1)
    for path, kind in (("/v1/followers", "application/json"), ("/login", "application/x-www-form-urlencoded")):
        headers = {"Idempotency-Key": "k", "Content-Type": kind}
        answer = await world.ask("admin", "POST", path, content=parts() if pieces else content, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


@pytest.mark.parametrize("key", [None, "", "a b", "x" * 129, "é"])
async def test_idempotency_keys_are_needed_and_bounded(world: World, key: str | None) -> None:
    headers: Any = {} if key is None else {"Idempotency-Key": key.encode()}
    answer = await world.ask("admin", "POST", "/v1/switches/halt", json={}, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "header.Idempotency-Key")


PATHS = [
    "/v1/followers/../../etc/passwd",
    "/v1//followers",
    "/v1/followers/%00",
    "/v1/signals/" + "x" * 5000,
    "/v1/followers/%2e%2e%2fg",
    "/v1/followers/f/",
    "/static/../app.py",
    "/static/..%2f..%2fapp.py",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
async def test_paths(world: World, path: str) -> None:
    answer = await world.ask("own", "GET", path)
    assert answer.status_code in (404, 422) and "import" not in answer.text


async def test_what_comes_with_a_session(world: World) -> None:
    """The cookie is of no use to another site: unsafe requests need the token that only our own pages have."""
    answer = await world.ask(None, "POST", "/login", data={"api_key": world.keys["admin"], "next": "//evil.example/"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    made = answer.headers["set-cookie"]
    assert all(part in made for part in ("HttpOnly", "SameSite=lax", "Path=/"))
    session = world.http.cookies[COOKIE]
    try:
        assert (await world.ask(None, "GET", "/v1/signals")).status_code == 200
        for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": token_for("x")}):
            refused = await world.ask(None, "POST", "/v1/switches/halt", json={}, headers=headers | {"Idempotency-Key": "s"})
            assert refused.status_code == 403
        headers = {"X-CSRF-Token": token_for(session), "Idempotency-Key": "s"}
        assert (await world.ask(None, "POST", "/v1/switches/halt", json={}, headers=headers)).status_code == 503, "no broker"
        assert (await world.ask(None, "POST", "/logout")).status_code == 403
        gone = await world.ask(None, "POST", "/logout", data={"csrf_token": token_for(session)})
        assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    finally:
        world.http.cookies.clear()
    assert (await world.ask(None, "GET", "/v1/signals", headers={"Cookie": f"{COOKIE}={session}"})).status_code == 401, "it ended"


async def test_broken_addresses_at_the_login(world: World) -> None:
    for wanted in ("//[", "http://["):
        answer = await world.ask(None, "POST", "/login", data={"api_key": "rmk_x", "next": wanted})
        assert (answer.status_code, answer.headers.get("location")) == (303, "/login?failed=1&next=%2F")
    answer = await world.ask(None, "POST", "/login", data={"api_key": "rmk_x"}, headers={"Origin": "http://["})
    assert answer.status_code == 403


async def test_wrong_logins(world: World) -> None:
    for key in ("rmk_x", world.keys["revoked"], world.keys["wrong"]):
        answer = await world.ask(None, "POST", "/login", data={"api_key": key, "next": "/whales"})
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "/login?failed=1&next=%2Fwhales",
        ) and "set-cookie" not in answer.headers
    answer = await world.ask(None, "POST", "/login", data={"api_key": world.keys["admin"]}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


async def test_too_many_requests(postgres: str, empty_tables: str) -> None:
    async with alone(postgres, empty_tables, api_rate=0.01, api_burst=5.0) as world:
        seen = [(await world.ask("admin", "GET", "/v1/lag")).status_code for _ in range(6)]
        assert seen == [200] * 5 + [429]
        answer = await world.ask("admin", "GET", "/v1/lag")
        assert int(answer.headers["retry-after"]) > 1 and answer.json()["type"] == "too-many-requests"
        assert (await world.ask("own", "GET", "/v1/lag")).status_code == 200, "another key"
        guesses = [(await world.ask("wrong", "GET", "/v1/lag")).status_code for _ in range(60)]
        assert guesses[0] == 401 and guesses[-1] == 429, "guessing keys is slow"


def test_buckets_fill_again() -> None:
    clock = [0.0]
    buckets = Buckets(2.0, 4.0, lambda: clock[0])
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert buckets.take("b", 4) == 0, "names do not share"
    clock[0] = 0.5
    assert (buckets.take("a"), buckets.take("a")) == (0, 0.5)
    clock[0] = 100.0
    assert buckets.take("a", 4) == 0 and buckets.take("a") > 0, "no more than the burst is saved"


async def test_secrets_are_nowhere(world: World) -> None:
    """Neither in the tables nor in the answers."""
    secret = world.keys["admin"].split("_", 2)[2]
    assert (await world.ask("admin", "GET", "/v1/lag")).status_code == 200
    with psycopg.connect(world.app.state.settings.database_url.get_secret_value()) as connection:
        for table in ("api_keys", "sessions", "answers"):
            text = connection.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM access.{table} AS t").fetchone()
            assert text is not None and secret not in text[0]
        assert connection.execute("SELECT last_used_at FROM access.api_keys WHERE name = 'admin'").fetchone() != (None,)
        assert connection.execute("SELECT has_schema_privilege('dashboard', 'access', 'USAGE')").fetchone() == (False,)
    missing = await world.ask(None, "POST", "/login", data={"api_key": secret * 10})
    assert missing.status_code == 422 and secret not in missing.text


def test_the_matrix_covers_every_kind_of_key() -> None:
    assert {rule.scope for rule in MATRIX.values()} == {"read", "follow", "trade", "admin"}
