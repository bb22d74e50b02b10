"""Applies a fault to one request: refuse, lose, cut, delay or distort the reply, with the order executed or not as its kind says."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp.web import BaseRequest

from engine.exchanges.simulator.dispatch import Dispatcher
from engine.exchanges.simulator.faults import Fault, FaultPlan
from engine.exchanges.simulator.model import Refused
from engine.exchanges.simulator.signatures import check_window
from engine.exchanges.simulator.wire import GONE, Call, Reply, VenueError
from engine.exchanges.simulator.world import Route

_HTML: Final = "text/html; charset=utf-8"
_PAGES: Final = {
    "html_200": (200, b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"),
    "empty_200": (200, b""),
    "http_502": (502, b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"),
    "http_503": (503, b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"),
    "http_504": (504, b"<html><head><title>504 Gateway Time-out</title></head></html>"),
    "http_403": (403, b"<html><head><title>403 Forbidden</title></head><body>access too frequent</body></html>"),
}
_TIMEOUT: Final = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_REJECTIONS: Final = {"binance": "insufficient_balance", "binanceusdm": "insufficient_margin", "bybit": "insufficient_margin"}
_UNKNOWN: Final = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
    10000: "Server Timeout",
    10016: "Server error.",
    170007: "Timeout waiting for response from backend server.",
    170146: "Order creation timeout",
}


class Mischief:
    """Carries faults out and counts the ones that really happened."""

    def __init__(self, dispatcher: Dispatcher, plan: FaultPlan) -> None:
        self._dispatcher, self._plan = dispatcher, plan
        self._late: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Forget what was to execute later."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def serve(self, request: BaseRequest, call: Call, route: Route, fault: Fault) -> Reply:
        """The distorted reply, or `GONE` when the connection is closed."""
        self._plan.applied[fault.kind] += 1
        kind, executes = fault.kind.removesuffix("_executed"), fault.kind.endswith("_executed")
        if kind == "execute_late":
            self._schedule(call, route, fault.seconds)
            return _lost(request)
        if kind.startswith("accept_and_"):
            return await self._accepted(request, call, route, fault)
        if kind in ("ack_then_reject", "query_lag", "realtime_cleared", "history_window"):
            return self._forgetful(request, call, route, fault)
        if executes:
            self._dispatcher.run(call, route)
        if kind == "drop":
            return _lost(request)
        return self._page(call, kind, fault)

    async def _accepted(self, request: BaseRequest, call: Call, route: Route, fault: Fault) -> Reply:
        reply = self._dispatcher.run(call, route)
        if fault.kind == "accept_and_delay":
            await asyncio.sleep(fault.seconds)
            return reply
        return _lost(request) if fault.kind == "accept_and_drop" else _truncated(request, reply)

    def _forgetful(self, request: BaseRequest, call: Call, route: Route, fault: Fault) -> Reply:
        """The order is placed (or rejected after its ack) and later queries cannot see it, for a while or in one source."""
        call.fault = fault.kind
        reply, now = self._dispatcher.run(call, route), self._dispatcher.world.clock.now_ms()
        for order in call.orders:
            if fault.kind == "query_lag":
                order.visible_ms = now + int(fault.seconds * 1000)
            elif fault.kind == "realtime_cleared":
                order.account.realtime_from_ms = now
                order.account.forgotten.add(order.id)
            elif fault.kind == "history_window":
                # A venue never forgets a trade, nor the order that it belongs to.
                order.archived = not order.filled
        return _lost(request) if fault.kind == "query_lag" and fault.drop else reply

    def _schedule(self, call: Call, route: Route, seconds: float) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            try:
                check_window(call, self._dispatcher.world.clock.now_ms(), in_engine=True)
            except VenueError:
                return
            self._dispatcher.run(call, route)

        task = asyncio.get_running_loop().create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _page(self, call: Call, kind: str, fault: Fault) -> Reply:
        if kind in _PAGES:
            status, body = _PAGES[kind]
            return Reply(status=status, body=body, content_type=_HTML)
        if kind in ("http_429", "http_418"):
            return _told_to_wait(int(kind[5:]), fault.seconds)
        if kind == "http_408" and call.exchange == "bybit":
            return Reply(status=408, body=b"", content_type=_HTML)
        if kind == "http_408":
            return Reply({"code": -1007, "msg": _TIMEOUT}, 408)
        if kind == "bybit_10006":
            return self._refused(call, VenueError(10006, "Too many visits. Exceeded the API Rate Limit.", 200))
        if kind == "unknown_code":
            return self._refused(call, _unknown(call, fault.code))
        return self._refused(call, VenueError(fault.code, "Rejected by script.", 400) if fault.code else _rejection(call))

    def _refused(self, call: Call, error: Exception) -> Reply:
        return self._dispatcher.refusal(call, error, call.reply_headers)


def _told_to_wait(status: int, seconds: float) -> Reply:
    text = "Too many requests; current limit is 6000 request weight per 1 MINUTE."
    return Reply({"code": -1003, "msg": text}, status, {"Retry-After": str(max(1, round(seconds)))})


def _unknown(call: Call, code: int) -> VenueError:
    code = code or (10016 if call.exchange == "bybit" else -1001)
    return VenueError(code, _UNKNOWN.get(code, "Unknown error."), 200 if call.exchange == "bybit" else 500)


def _rejection(call: Call) -> Exception:
    if call.exchange == "bybit" and call.params.get("category") == "spot":
        return VenueError(170131, "Insufficient balance.", 200)
    if call.exchange == "bybit":
        return VenueError(110007, "ab not enough for new order", 200)
    return Refused(_REJECTIONS[call.exchange])


def _lost(request: BaseRequest) -> Reply:
    """The connection ends without a reply."""
    if request.transport is not None:
        request.transport.close()
    return GONE


def _truncated(request: BaseRequest, reply: Reply) -> Reply:
    """Status line and headers promise the whole body, half of it arrives."""
    body, transport = reply.encoded(), request.transport
    if transport is not None:
        head = f"HTTP/1.1 {reply.status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        transport.write(head.encode() + body[: len(body) // 2])
        transport.close()
    return GONE
