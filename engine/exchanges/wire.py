"""ccxt's unmodified classes, one prototype a class, one clone a request in flight.

A clone (`Wire`) carries an account's keys only for the time of its request, records the raw reply by the class's own hooks
(`on_rest_response`, `last_request_url`), and signs with the timestamp it is given. Nothing here retries.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import aiohttp
import ccxt.async_support as ccxt

from engine.exchanges.judge import Reply, judge_read
from engine.exchanges.port import CallFailed, Credential, Hint, Judgement, Verdict
from engine.exchanges.session import VenueNet

logging.getLogger("ccxt.base.exchange").setLevel(logging.ERROR)


LONGEST_CLOCK_TRIP_MS: Final = 1500


def now_ms() -> int:
    """Wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def _unread(order: Any, market: Any = None) -> dict[str, Any]:
    del market
    return {"info": order}


class Wire:
    """One clone. `ex` is used by one request at a time; `reply` is what that request brought back."""

    def __init__(self, prototype: Any, offset_ms: Callable[[], int]) -> None:
        self.ex = copy.copy(prototype)
        self.ex.options = dict(prototype.options)
        self.ex.on_rest_response = self._capture
        self.ex.nonce = self._nonce
        # Orders are read from the raw reply, exactly; ccxt's own reading of it (floats, a quarter of its time) is not needed.
        self.ex.parse_order = _unread
        self.reply = Reply()
        self._offset_ms = offset_ms
        self._signed_at: int | None = None

    def _capture(self, status: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any) -> str:
        del reason, url, method, rest
        self.reply.status, self.reply.headers, self.reply.body = status, headers, body
        return body.strip()

    def _nonce(self) -> int:
        return (self._signed_at if self._signed_at is not None else now_ms()) - self._offset_ms()

    def load(self, keys: Credential | None, signed_at: int | None, recv_window_ms: int | None) -> None:
        """Prepare for one request."""
        self.reply = Reply()
        self.ex.last_request_url = None
        self.ex.apiKey = keys.api_key.get_secret_value() if keys else ""
        self.ex.secret = keys.secret.get_secret_value() if keys else ""
        self._signed_at = signed_at
        if recv_window_ms is not None:
            self.ex.options["recvWindow"] = recv_window_ms

    def clear(self) -> None:
        """Forget the account."""
        self.ex.apiKey = self.ex.secret = ""
        self.ex.last_request_url = self.ex.last_request_body = self.ex.last_request_headers = None

    async def attempt(self, call: Callable[[Any], Awaitable[Any]]) -> Reply:
        """Run one call; whatever happens is in the reply, nothing is raised but cancellation."""
        try:
            await call(self.ex)
        except Exception as error:
            self._note(error)
        self.reply.sent = self.ex.last_request_url is not None
        return self.reply

    def _note(self, error: Exception) -> None:
        self.reply.failure = f"{type(error).__name__}: {type(error.__cause__).__name__ if error.__cause__ else 'reply refused'}"
        if self.reply.status is None and self.ex.last_request_url is None:
            self.reply.failure = f"{type(error).__name__}: {str(error)[:120]}"
        self.reply.refused_connection = isinstance(error.__cause__, aiohttp.ClientConnectorError)

    async def read(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        """Run one read and give its decoded body (Decimal, never float); raises `CallFailed`."""
        ok = True
        try:
            await call(self.ex)
        except Exception as error:
            self._note(error)
            ok = False
        self.reply.sent = self.ex.last_request_url is not None
        body = self.reply.json() if ok and self.reply.status == 200 else None
        if not isinstance(body, dict | list):
            raise CallFailed(judge_read(self.reply, ok=False))
        return body


class WireRack:
    """The prototype of one class and its idle clones."""

    def __init__(self, class_name: str, net: VenueNet, options: dict[str, Any]) -> None:
        self.offset_ms = 0
        self._generation = 0
        self._idle: list[Wire] = []
        config = {"session": net.session, "enableRateLimit": False, "timeout": net.timeout_ms, "options": options}
        self.prototype = getattr(ccxt, class_name)(config)
        self.prototype.ssl_context = net.ssl_context
        self.prototype.has = dict(self.prototype.has) | {"fetchCurrencies": False}
        hostname = str(self.prototype.hostname or "")
        for name, url in self.prototype.urls["api"].items():
            if isinstance(url, str):
                self.prototype.urls["api"][name] = net.rewrite(url.replace("{hostname}", hostname))

    @contextmanager
    def take(self, keys: Credential | None, signed_at: int | None = None, recv_window_ms: int | None = None) -> Iterator[Wire]:
        """A clone with the account's keys, for one request; it goes back without them."""
        wire = self._idle.pop() if self._idle else Wire(self.prototype, lambda: self.offset_ms)
        generation = self._generation
        wire.load(keys, signed_at, recv_window_ms)
        try:
            yield wire
        finally:
            wire.clear()
            if generation == self._generation:
                self._idle.append(wire)
            else:
                wire.ex.session = None

    def market_id(self, symbol: str) -> str:
        """The venue's name of a market; of one that it no longer lists too: what was placed there is still asked for."""
        market = self.prototype.markets.get(symbol)
        return str(market["id"]) if market else symbol.partition(":")[0].replace("/", "")

    async def read(self, keys: Credential | None, call: Callable[[Any], Awaitable[Any]]) -> Any:
        """One read on a clone; raises `CallFailed`."""
        with self.take(keys) as wire:
            return await wire.read(call)

    async def load_markets(self) -> None:
        """Load the markets once more and swap them into the prototype; idle clones are dropped."""
        wire = Wire(self.prototype, lambda: self.offset_ms)
        wire.load(None, None, None)
        try:
            await wire.ex.load_markets(True)
        except Exception as error:
            wire._note(error)
            wire.reply.sent = wire.ex.last_request_url is not None
            raise CallFailed(judge_read(wire.reply, ok=False)) from error
        self.prototype.set_markets_from_exchange(wire.ex)
        self._generation += 1
        wire.ex.session = None
        self._drop_idle()

    async def measure_clock(self, call: Callable[[Any], Awaitable[Any]], server_ms: Callable[[Any], int]) -> None:
        """Set `offset_ms` = ours minus the venue's clock, by one public call; the middle of the round trip counts.

        A slow answer measures too little: the fence of an attempt rests on an error of less than a second.
        """
        before = now_ms()
        body = await self.read(None, call)
        after = now_ms()
        if after - before > LONGEST_CLOCK_TRIP_MS:
            raise CallFailed(Judgement(Verdict.UNKNOWN, Hint.NONE, "", f"the clock took {after - before} ms to answer"))
        self.offset_ms = (before + after) // 2 - server_ms(body)

    def close(self) -> None:
        """Let go of the shared session, which its owner closes."""
        self._drop_idle()
        self.prototype.session = None

    def _drop_idle(self) -> None:
        for wire in self._idle:
            wire.ex.session = None
        self._idle.clear()
