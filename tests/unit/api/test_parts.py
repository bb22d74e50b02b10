"""Small parts of the API: the trail's pages, the control fold, paths after a login, patches."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from api import errors
from api.app import build
from api.audit import Act, Acts, Tail, merge, read_cursor, to_act, write_cursor
from api.control import REMEMBERED, ControlFold
from api.errors import BadCursor, Forbidden
from api.inputs import FollowerPatch, patched
from api.security.login import check_origin, own_path
from api.security.principal import Principal
from engine.config import Settings
from engine.contracts.types import from_ms
from engine.domain.values import Limits


def act(name: str, offset: int, at_ms: int) -> Act:
    """A record of one partition."""
    return Act(position=f"{name}/{offset}", at=from_ms(at_ms), actor="", kind="", follower_id=None, request_id="", content={})


@given(st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=1, max_size=4), st.integers(1, 5))
def test_pages_of_the_trail_hold_everything_once(clocks: list[list[int]], limit: int) -> None:
    """Whatever the clocks say: each partition newest first, and the cursor goes on where the page ended."""
    log = {f"f/{shard}": [act(f"f/{shard}", offset, at) for offset, at in enumerate(times)] for shard, times in enumerate(clocks)}
    before: dict[str, int] = {}
    seen: list[str] = []
    while True:
        tails: list[Tail] = []
        for name, acts in log.items():
            stop = min(before.get(name, len(acts)), len(acts))
            tails.append((name, 0, acts[max(0, stop - limit) : stop]))
        chosen, rest = merge(tails, limit)
        seen += [found.position for found in chosen]
        if not any(rest.values()):
            break
        before = read_cursor(write_cursor(rest))
    for name, acts in log.items():
        assert [place for place in seen if place.startswith(f"{name}/")] == [found.position for found in reversed(acts)]


@pytest.mark.parametrize("cursor", ["!", "W10=", "eyJhIjotMX0=", "eyJhIjp0cnVlfQ==", "eyJhIjoxLjV9"])
def test_cursors_of_others_are_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(cursor)


DEEP = b'{"t":"x","a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"1", b'{"t":"\\ud800"}', b'{"t":"x","reason":"\\udfff"}', DEEP])
def test_the_trail_shows_what_nobody_can_read(value: bytes) -> None:
    found = to_act("c/0/1", value, 0)
    assert found.kind == "unreadable"
    assert '"position":"c/0/1"' in Acts(items=[found], next=None).model_dump_json()


def test_the_fold_drops_repeats_and_what_is_no_record() -> None:
    fold = ControlFold()
    records = [
        b'{"t":"SetSwitch","request_id":"1","state":"halt","actor":"a"}',
        b"not json",
        b'{"t":"SetSwitch","request_id":"2","state":"running"}',
        b'{"t":"SetSwitch","request_id":"1","state":"halt"}',
        b'{"t":"SetGate","request_id":"3","paused":true,"min_priority":"high"}',
    ]
    for offset, record in enumerate(records):
        fold.fold(record, offset, offset)
    assert (fold.switches["global", ""].state, fold.gate.paused, fold.gate.min_priority, fold.position) == ("running", True, "high", 5)


def test_the_fold_forgets_the_oldest_requests() -> None:
    fold = ControlFold()
    for offset in range(REMEMBERED + 5):
        fold.fold(b'{"t":"SetGate","request_id":"%d"}' % offset, offset, 0)
    assert len(fold._requests) == REMEMBERED


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ("/whales", "/whales"),
        ("/whales?x=1", "/whales?x=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\nb", "/"),
        ("//[", "/"),
        ("http://[", "/"),
        ("/[", "/["),
        ("", "/"),
    ],
)
def test_a_login_leads_to_a_path_of_ours(asked: str, given_: str) -> None:
    assert own_path(asked) == given_


@pytest.mark.parametrize("origin", ["null", "http://[", "https://evil.example", "http://api.evil.example", ""])
def test_no_other_site_logs_somebody_in(origin: str) -> None:
    with pytest.raises(Forbidden):
        check_origin(request_of(host="api", origin=origin))


def test_our_own_site_does() -> None:
    check_origin(request_of(host="api:8080", origin="http://api:8080"))
    check_origin(request_of(host="api"))


def request_of(**headers: str) -> Request:
    """A request with these headers."""
    return Request({"type": "http", "headers": [(name.encode(), text.encode()) for name, text in headers.items()]})


async def test_what_is_unexpected_says_nothing_about_our_inside() -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("SELECT secret_hash FROM access.api_keys")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://api") as http:
        answer = await http.get("/fails")
    assert (answer.status_code, answer.json()["type"]) == (500, "unhandled-exception")
    assert "secret_hash" not in answer.text


def test_methods_that_somebody_made_up_make_no_labels() -> None:
    metrics = build(Settings()).state.metrics
    for number in range(3):
        metrics.note({"method": f"MADE{number}"}, 404, 0.0)
    metrics.note({"method": "GET"}, 404, 0.0)
    [family] = metrics.meters.requests.collect()
    assert {(sample.labels["method"], sample.value) for sample in family.samples if sample.name.endswith("_total")} == {
        ("other", 3.0),
        ("GET", 1.0),
    }


def test_a_patch_keeps_what_it_does_not_name() -> None:
    row: dict[str, Any] = {
        "copy_trading_enabled": True,
        "paused": None,
        "mode": "live",
        "preferred_exchange": "bybit",
        "leverage_limit": Decimal("2.5"),
        "limits": {"cooldown_ms": 5, "max_exposure_quote": "10"},
    }
    patch = FollowerPatch.model_validate({"paused": True, "limits": {"cooldown_ms": None, "daily_loss_quote": "7"}})
    settings = patched(row, patch)
    assert (settings.paused, settings.mode, settings.max_leverage) == (True, "live", Decimal("2.5"))
    assert settings.limits == Limits(max_exposure_quote=Decimal(10), daily_loss_quote=Decimal(7))


def test_whose_rows_a_principal_sees() -> None:
    everybody, own = Principal("1", "", frozenset({"read"})), Principal("2", "", frozenset({"trade"}), "f")
    assert (everybody.only(None), everybody.only("g"), own.only(None), own.only("g")) == (None, "g", "f", "f")
    assert everybody.sees("f") and everybody.sees(None) and own.sees("f") and not own.sees("g") and not own.sees(None)
    assert everybody.allows("read") and not everybody.allows("trade") and not own.allows("admin")
