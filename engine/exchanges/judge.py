"""The judge: what one reply proves about an order. Enters: HTTP status, raw body, failure of the transport. Leaves: a `Judgement`.

REJECTED comes only from the allow-lists below, by raw code, never from an exception class; everything that is on no list is UNKNOWN.
Sources of the codes: the venues' own documentation, `fixtures/error-classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.exchanges.port import Hint, Judgement, Verdict

_BAN_S: Final = 120.0
"""Shortest ban of an IP at Binance."""
_BYBIT_IP_WINDOW_S: Final = 5.0
"""What Bybit counts an IP's requests in."""
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(slots=True)
class Reply:
    """What came back for one request: `failure` names what the transport did instead of a full reply."""

    sent: bool = False
    status: int | None = None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    refused_connection: bool = False

    def json(self) -> Any:
        """The decoded body, None when it is not JSON."""
        try:
            return _DECODER.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def _codes(hint: Hint, text: str) -> dict[int, Hint]:
    return {int(code): hint for code in text.split()}


BINANCE: Final[dict[int, Hint]] = (
    _codes(Hint.FINAL, "-1013 -1100 -1101 -1102 -1103 -1104 -1105 -1106 -1111 -1114 -1115 -1116 -1117 -1118 -1121 -1130 -1136")
    | _codes(Hint.FINAL, "-4001 -4003 -4004 -4005 -4013 -4014 -4015 -4023 -4024 -4111 -4120 -4164 -4183 -4184")
    | _codes(Hint.AGAIN, "-1112 -2020 -2021 -2025 -2027 -2028 -4131 -4140 -4192 -4400 -5021 -5022 -4016")
    | _codes(Hint.FUNDS, "-2018 -2019 -2024")
    | _codes(Hint.RECONCILE, "-2022 -4061 -4118")
    | _codes(Hint.KEYS, "-1002 -1022 -2014 -2015")
    | _codes(Hint.CLOCK, "-1021 -5028")
)
"""Codes of Binance (spot and USD-M) whose 4xx reply proves that the order did not reach the book."""

_BINANCE_2010: Final[tuple[tuple[str, Hint], ...]] = (
    ("Duplicate order sent.", Hint.DUPLICATE),
    ("Account has insufficient balance for requested action.", Hint.FUNDS),
    ("Market is closed.", Hint.AGAIN),
    ("This action is disabled on this account.", Hint.KEYS),
    ("Rest API trading is not enabled.", Hint.KEYS),
    ("Order would immediately match and take.", Hint.AGAIN),
    ("Stop price would trigger immediately.", Hint.AGAIN),
)

_BINANCE_1013_FOR_NOW: Final = ("Market is closed", "PERCENT_PRICE", "MAX_NUM", "MAX_POSITION")
"""Filters that depend on the market or on what else is open, not on the form of the request."""

BYBIT: Final[dict[int, Hint]] = (
    _codes(Hint.FINAL, "10001 110013 110024 110028 110070 110092 110093 110094 110095 110100 110101")
    | _codes(Hint.FINAL, "170010 170115 170116 170117 170121 170124 170130 170132 170133 170134 170135 170136 170137 170140 170221")
    | _codes(Hint.AGAIN, "110003 110020 110040 110066 110090")
    | _codes(Hint.AGAIN, "170005 170190 170193 170194 170195 170198 170199 170210 170217 170218 170810")
    | _codes(Hint.FUNDS, "110004 110006 110007 110012 110014 110044 110045 110052 110053 170033 170131 170223")
    | _codes(Hint.RECONCILE, "110017")
    | _codes(Hint.KEYS, "10003 10004 10005 10010 10024 10027 10028 10029 33004 110018 110067")
    | _codes(Hint.CLOCK, "10002")
    | _codes(Hint.LIMITED, "10006 10018 170222")
    | _codes(Hint.DUPLICATE, "110030 110072 170141")
)
"""Codes of Bybit v5 (HTTP 200, or 4xx) that prove the request was refused before it became an order, or that our id exists."""
_BYBIT_10001: Final = (("duplicate", Hint.DUPLICATE), ("reduce-only", Hint.RECONCILE), ("position idx", Hint.RECONCILE))
"""A wrong position mode (like Binance's -4061) is one too: a mode is changed only while nothing is open, so the position tells."""


def _unknown(code: str, reason: str) -> Judgement:
    return Judgement(Verdict.UNKNOWN, Hint.NONE, code, reason[:200])


def _transport(reply: Reply) -> Judgement | None:
    if not reply.sent:
        return Judgement(Verdict.NOT_SENT, Hint.LOCAL, "", reply.failure[:200])
    if reply.refused_connection:
        return Judgement(Verdict.NOT_SENT, Hint.NONE, "", reply.failure[:200])
    if reply.status is None:
        return _unknown("", reply.failure or "no reply")
    return None


def _listed(hint: Hint, code: str, reason: str, retry_after_s: float = 0.0, whole_ip: bool = False) -> Judgement:
    verdict = Verdict.UNKNOWN if hint is Hint.DUPLICATE else Verdict.REJECTED
    return Judgement(verdict, hint, code, reason[:200], retry_after_s, whole_ip)


def _retry_after(reply: Reply, default: float) -> float:
    text = next((value for name, value in reply.headers.items() if name.lower() == "retry-after"), "")
    try:
        return max(float(text), 0.1) if text else default
    except ValueError:
        return default


def judge_binance(reply: Reply, client_id: str) -> Judgement:
    """Verdict on a reply to `POST .../order` of Binance spot or USD-M."""
    early = _transport(reply)
    if early:
        return early
    body, status = reply.json(), reply.status or 0
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    if status == 200:
        if fields.get("orderId") and fields.get("clientOrderId") == client_id:
            return Judgement(Verdict.ACCEPTED)
        return _unknown("200", "no order with our id in the reply")
    code, text = fields.get("code"), str(fields.get("msg", ""))
    if status in (418, 429) or (code in (-1003, -1015) and 400 <= status < 500):
        pause = _retry_after(reply, _BAN_S if status == 418 else 5.0)
        return _listed(Hint.LIMITED, str(code or status), text, pause, whole_ip=code != -1015)
    if not (400 <= status < 500) or status == 408 or not isinstance(code, int):
        return _unknown(str(code or status), text or "no verdict in the reply")
    hint = _binance_hint(code, text)
    return _listed(hint, str(code), text) if hint else _unknown(str(code), text)


def _binance_hint(code: int, text: str) -> Hint | None:
    if code == -4116:
        return Hint.DUPLICATE
    if code == -2010:
        return next((hint for words, hint in _BINANCE_2010 if words in text), None)
    if code == -1013 and any(words in text for words in _BINANCE_1013_FOR_NOW):
        return Hint.AGAIN
    return BINANCE.get(code)


def judge_bybit(reply: Reply, client_id: str) -> Judgement:
    """Verdict on a reply to `POST /v5/order/create`; ACCEPTED means acknowledged, the order may still be rejected later."""
    early = _transport(reply)
    if early:
        return early
    body, status = reply.json(), reply.status or 0
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    if status == 403 and "access too frequent" in reply.body.lower():
        return _listed(Hint.LIMITED, "403", "access too frequent", _retry_after(reply, 0.0), whole_ip=True)
    if status == 429:
        return _listed(Hint.LIMITED, "429", "too many requests", _retry_after(reply, 5.0), whole_ip=True)
    code, text = fields.get("retCode"), str(fields.get("retMsg", ""))
    readable = status == 200 or (400 <= status < 500 and status != 408)
    if not readable or not isinstance(code, int) or (code == 0 and status != 200):
        return _unknown(str(code or status), text or "no verdict in the reply")
    if code == 0:
        result = fields.get("result")
        if isinstance(result, dict) and result.get("orderId") and result.get("orderLinkId") == client_id:
            return Judgement(Verdict.ACCEPTED)
        return _unknown("0", "no order with our id in the reply")
    hint = BYBIT.get(code)
    if code == 10001:
        hint = next((special for words, special in _BYBIT_10001 if words in text.lower()), hint)
    if hint is Hint.LIMITED:
        return _listed(hint, str(code), text, _retry_after(reply, _BYBIT_IP_WINDOW_S if code == 10018 else 1.0), whole_ip=code == 10018)
    return _listed(hint, str(code), text) if hint else _unknown(str(code), text)


def judge_read(reply: Reply, ok: bool) -> Judgement:
    """Verdict on a read: only for limits and the breaker. `ok` = the client raised nothing and the reply had its shape."""
    if ok:
        return Judgement(Verdict.ACCEPTED)
    early = _transport(reply)
    if early:
        return early
    body = reply.json()
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    code = fields.get("code", fields.get("retCode"))
    banned = "access too frequent" in reply.body.lower()
    if banned or reply.status in (418, 429) or code in (-1003, 10006, 10018):
        # A ban lasts minutes, whatever asked when it was met; asking on makes it longer.
        unsaid = 0.0 if banned else _BAN_S if reply.status == 418 else _BYBIT_IP_WINDOW_S
        return _listed(Hint.LIMITED, str(code or reply.status), "", _retry_after(reply, unsaid), whole_ip=code != 10006)
    hint = {-1021: Hint.CLOCK, 10002: Hint.CLOCK, -2015: Hint.KEYS, -2014: Hint.KEYS, 10003: Hint.KEYS, 33004: Hint.KEYS}.get(
        code if isinstance(code, int) else 0, Hint.NONE
    )
    return Judgement(Verdict.UNKNOWN, hint, str(code or reply.status), str(fields.get("msg", fields.get("retMsg", "")))[:200])
