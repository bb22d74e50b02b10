"""The judge by raw code: only the allow-list rejects; both columns of the measured table, and every shape a reply can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.exchanges.judge import BINANCE, BYBIT, Reply, judge_binance, judge_bybit, judge_read
from engine.exchanges.port import Hint, Verdict

ID = "ab" * 16
UNKNOWN_BINANCE = {-1000, -1001, -1006, -1007, -1008, -1034, -5041, -1016, -1145, -2011, -2013, -2026}
UNKNOWN_BYBIT = {10000, 10016, 170001, 170234, -1, 429, 170007, 170146, 170147, 10014, 110001, 170213, 10019, 10429, 110079}


def answered(status: int, body: Any, **headers: str) -> Reply:
    """A full reply."""
    return Reply(sent=True, status=status, body=body if isinstance(body, str) else json.dumps(body), headers=headers)


def _rows(fixtures_dir: Path, exchange: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((fixtures_dir / "error-classes" / f"{exchange}.json").read_text())["rows"]
    return rows


def test_binance_by_raw_code(fixtures_dir: Path) -> None:
    """Independent of the class ccxt makes of it on real hosts or overridden ones: the judge never sees the class."""
    for row in _rows(fixtures_dir, "binance"):
        verdict = judge_binance(answered(row["http"], {"code": row["code"], "msg": row["msg"]}), ID)
        if row["http"] >= 500 or row["http"] == 408 or row["code"] in UNKNOWN_BINANCE:
            assert verdict.verdict is Verdict.UNKNOWN, row
        elif "uplicate" in row["msg"] and "OrderId" in row["msg"] + "OrderId" and row["code"] in (-2010, -4116):
            assert (verdict.verdict, verdict.hint) == (Verdict.UNKNOWN, Hint.DUPLICATE), row
        elif row["http"] in (429, 418) or row["code"] in (-1003, -1015):
            assert (verdict.verdict, verdict.hint) == (Verdict.REJECTED, Hint.LIMITED), row
        elif verdict.verdict is Verdict.REJECTED:
            assert row["code"] in BINANCE or row["code"] == -2010, row
        else:
            assert verdict.verdict is Verdict.UNKNOWN, row


@pytest.mark.parametrize(
    ("http", "code", "text", "hint"),
    [
        (400, -1013, "Filter failure: LOT_SIZE", Hint.FINAL),
        (400, -1013, "Filter failure: NOTIONAL", Hint.FINAL),
        (400, -1013, "Market is closed.", Hint.AGAIN),
        (400, -1111, "Precision is over the maximum defined for this asset.", Hint.FINAL),
        (400, -2010, "Account has insufficient balance for requested action.", Hint.FUNDS),
        (400, -2019, "Margin is insufficient.", Hint.FUNDS),
        (400, -4164, "Order's notional must be no smaller than 5.0", Hint.FINAL),
        (400, -2022, "ReduceOnly Order is rejected.", Hint.RECONCILE),
        (400, -2021, "Order would immediately trigger.", Hint.AGAIN),
        (400, -1021, "Timestamp for this request is outside of the recvWindow.", Hint.CLOCK),
        (400, -5028, "Timestamp for this request is outside of the ME recvWindow.", Hint.CLOCK),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", Hint.KEYS),
        (400, -1022, "Signature for this request is not valid.", Hint.KEYS),
        (400, -4061, "Order's position side does not match user's setting.", Hint.RECONCILE),
        (400, -1112, "No orders on book for symbol.", Hint.AGAIN),
    ],
)
def test_binance_rejections(http: int, code: int, text: str, hint: Hint) -> None:
    verdict = judge_binance(answered(http, {"code": code, "msg": text}), ID)
    assert (verdict.verdict, verdict.hint, verdict.code) == (Verdict.REJECTED, hint, str(code))
    assert judge_binance(answered(503, {"code": code, "msg": text}), ID).verdict is Verdict.UNKNOWN


def test_bybit_by_raw_code(fixtures_dir: Path) -> None:
    for row in _rows(fixtures_dir, "bybit"):
        code = row["retCode"]
        if code == 0:
            continue
        verdict = judge_bybit(answered(200, {"retCode": code, "retMsg": row["retMsg"] or ""}), ID)
        if code in UNKNOWN_BYBIT or code not in BYBIT:
            assert verdict.verdict is Verdict.UNKNOWN and verdict.hint is Hint.NONE, row
        elif verdict.hint is Hint.DUPLICATE:
            assert verdict.verdict is Verdict.UNKNOWN, row
        else:
            assert verdict.verdict is Verdict.REJECTED, row


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        (110007, "ab not enough for new order", Hint.FUNDS),
        (170131, "Insufficient balance.", Hint.FUNDS),
        (110017, "current position is zero, cannot fix reduce-only order qty", Hint.RECONCILE),
        (10001, "Reduce-only rule not satisfied", Hint.RECONCILE),
        (10001, "params error: qty invalid", Hint.FINAL),
        (110094, "Order notional value below the lower limit", Hint.FINAL),
        (10002, "invalid request, please check your server timestamp or recv_window param", Hint.CLOCK),
        (10006, "Too many visits. Exceeded the API Rate Limit.", Hint.LIMITED),
        (10003, "API key is invalid.", Hint.KEYS),
        (10001, "position idx not match position mode", Hint.RECONCILE),
        (110066, "No trading is allowed at the current time", Hint.AGAIN),
    ],
)
def test_bybit_rejections(code: int, text: str, hint: Hint) -> None:
    verdict = judge_bybit(answered(200, {"retCode": code, "retMsg": text}), ID)
    assert (verdict.verdict, verdict.hint) == (Verdict.REJECTED, hint)
    assert judge_bybit(answered(500, {"retCode": code, "retMsg": text}), ID).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (110072, "OrderLinkedID is duplicate"),
        (110030, "Duplicate orderId"),
        (170141, "Duplicate clientOrderId"),
    ],
)
def test_bybit_duplicates_mean_that_it_exists(code: int, text: str) -> None:
    verdict = judge_bybit(answered(200, {"retCode": code, "retMsg": text}), ID)
    assert (verdict.verdict, verdict.hint) == (Verdict.UNKNOWN, Hint.DUPLICATE)


GOOD = {
    judge_binance: {"orderId": 12, "clientOrderId": ID},
    judge_bybit: {"retCode": 0, "result": {"orderId": "12", "orderLinkId": ID}},
}


@pytest.mark.parametrize("judge", list(GOOD))
def test_accepted_needs_an_id_and_ours_echoed(judge: Any) -> None:
    assert judge(answered(200, GOOD[judge]), ID).verdict is Verdict.ACCEPTED
    assert judge(answered(200, GOOD[judge]), "cd" * 16).verdict is Verdict.UNKNOWN
    for body in ("", "{", "{}", "[]", "null", "<html></html>", '{"retCode":0}', '{"retCode":0,"result":{}}', '{"orderId":0}'):
        assert judge(answered(200, body), ID).verdict is Verdict.UNKNOWN, body
    for status in (201, 302, 403, 408, 500, 502, 503, 504, 524):
        assert judge(answered(status, "<html></html>"), ID).verdict is Verdict.UNKNOWN, status


@pytest.mark.parametrize("judge", list(GOOD))
def test_what_the_transport_says(judge: Any) -> None:
    assert judge(Reply(sent=False, failure="InvalidOrder: amount"), ID).hint is Hint.LOCAL
    assert judge(Reply(sent=True, failure="x", refused_connection=True), ID).verdict is Verdict.NOT_SENT
    assert judge(Reply(sent=True, failure="RequestTimeout: TimeoutError"), ID).verdict is Verdict.UNKNOWN
    assert judge(Reply(sent=True), ID).verdict is Verdict.UNKNOWN


def test_how_long_to_wait() -> None:
    body = {"code": -1003, "msg": "Too many requests"}
    assert judge_binance(answered(429, body, **{"Retry-After": "7"}), ID).retry_after_s == 7
    banned = judge_binance(answered(418, body), ID)
    assert (banned.retry_after_s, banned.whole_ip) == (120, True)
    per_account = judge_binance(answered(429, {"code": -1015, "msg": "Too many new orders"}), ID)
    assert (per_account.hint, per_account.whole_ip) == (Hint.LIMITED, False)
    refused = judge_bybit(answered(403, "access too frequent"), ID)
    assert (refused.verdict, refused.hint, refused.whole_ip, refused.retry_after_s) == (Verdict.REJECTED, Hint.LIMITED, True, 0)
    assert judge_bybit(answered(429, ""), ID).hint is Hint.LIMITED
    assert judge_binance(answered(429, body, **{"retry-after": "soon"}), ID).retry_after_s == 5
    by_ip = judge_bybit(answered(200, {"retCode": 10018, "retMsg": "Exceeded the IP Rate Limit."}), ID)
    assert (by_ip.whole_ip, by_ip.retry_after_s) == (True, 5)


def test_a_read_that_meets_a_ban_waits_as_long_as_an_order() -> None:
    for reply, seconds in (
        (answered(418, {"code": -1003, "msg": "banned"}), 120),
        (answered(418, {"code": -1003, "msg": "banned"}, **{"Retry-After": "9"}), 9),
        (answered(403, "access too frequent"), 0),
        (answered(429, {"code": -1003, "msg": "too many"}), 5),
    ):
        verdict = judge_read(reply, ok=False)
        assert (verdict.hint, verdict.whole_ip, verdict.retry_after_s) == (Hint.LIMITED, True, seconds)


def test_reads_tell_limits_and_clock() -> None:
    assert judge_read(Reply(), ok=True).verdict is Verdict.ACCEPTED
    assert judge_read(answered(429, ""), ok=False).hint is Hint.LIMITED
    assert judge_read(answered(200, {"retCode": 10006, "retMsg": "x"}), ok=False).whole_ip is False
    assert judge_read(answered(400, {"code": -1021, "msg": "x"}), ok=False).hint is Hint.CLOCK
    assert judge_read(answered(401, {"code": -2015, "msg": "x"}), ok=False).hint is Hint.KEYS
    assert judge_read(Reply(sent=True, refused_connection=True), ok=False).verdict is Verdict.NOT_SENT
    assert judge_read(answered(400, {"code": -2013, "msg": "Order does not exist."}), ok=False).code == "-2013"
