"""What passes between the server and a venue's wire module: a parsed call enters, a reply or a venue's refusal leaves."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from engine.exchanges.simulator.model import ZERO, Account, Order

JSON: Final = "application/json;charset=UTF-8"
NUMBER: Final = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?")
"""How the venues write a number: no sign, no exponent."""
WHOLE: Final = re.compile(r"[0-9]{1,20}")


@dataclass(slots=True)
class Call:
    """One HTTP request. `params` are query and body as text; JSON bodies keep their types in `document`; `orders` are those that
    it placed and `fault` is what the fault plan wants the handler to do differently."""

    exchange: str
    method: str
    path: str
    query: str
    body: bytes
    headers: Any
    remote: str
    received_us: int
    account: Account | None = None
    fault: str = ""
    reply_headers: dict[str, str] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> Account:
        """The authenticated account of a signed call."""
        assert self.account is not None
        return self.account

    def parse(self) -> None:
        """Fill `params` (and `document`) from the raw query and body."""
        if self.query:
            self.params = _fields(self.query)
        if self.body:
            if self.exchange == "bybit":
                self.document = _object(self.body)
                self.params |= {key: as_text(value) for key, value in self.document.items()}
            else:
                self.params |= _fields(self.body.decode("utf-8", "replace"))

    def number(self, name: str) -> Decimal:
        """A decimal parameter; absent or empty is zero, anything but a plain number raises `Malformed`."""
        return decimal(self.params.get(name, ""), name)

    def integer(self, name: str, default: int) -> int:
        """A whole parameter."""
        text = self.params.get(name, "")
        return whole(text, name) if text else default


@dataclass(slots=True)
class Reply:
    """One HTTP answer; a JSON value is encoded, bytes are sent as they are."""

    value: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON

    def encoded(self) -> bytes:
        """The body's bytes."""
        return self.body if self.body is not None else orjson.dumps(self.value)


GONE: Final = Reply(status=0)
"""Stands for no reply at all: the connection is closed already."""


class VenueError(Exception):
    """A venue's own refusal: code, message, HTTP status; `data` says more in a field of that name (Binance's cancel-replace)."""

    def __init__(self, code: int, message: str, status: int = 400, data: dict[str, Any] | None = None) -> None:
        self.code, self.message, self.status, self.data = code, message, status, data
        super().__init__(f"{code} {message}")


class Malformed(Exception):
    """A parameter is not what its name says; `legal` is the pattern that its text must match, when it has one."""

    def __init__(self, name: str, legal: str = "") -> None:
        self.legal = legal
        super().__init__(name)


def decimal(text: str, name: str) -> Decimal:
    """Exact decimal of a parameter; empty is zero."""
    if not text:
        return ZERO
    if not NUMBER.fullmatch(text):
        raise Malformed(name, NUMBER.pattern)
    return Decimal(text)


def whole(text: str, name: str) -> int:
    """A parameter that is a whole number."""
    if not WHOLE.fullmatch(text):
        raise Malformed(name, WHOLE.pattern)
    return int(text)


def as_text(value: Any) -> str:
    """A value of a JSON body as the text that a form would carry."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else orjson.dumps(value).decode()


def _fields(raw: str) -> dict[str, str]:
    """A form or query as text; most values need no decoding, which is what makes it quick."""
    pairs = (word.partition("=") for word in raw.split("&") if word)
    return {name: unquote_plus(value) if "%" in value or "+" in value else value for name, _, value in pairs}


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Malformed("body") from None
    if not isinstance(value, dict):
        raise Malformed("body")
    return value
