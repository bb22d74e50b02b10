"""Rate limits as the venues apply them: a call enters, the venue's counting headers leave, or its refusal.

Binance counts request weight per IP and minute (6,000 spot, 2,400 USD-M), unfilled spot orders per account and 10 s, futures orders
per account and 10 s and minute; after 429 an IP that goes on is banned (418). Bybit counts calls per UID, group and second, and 600
requests per IP in 5 s (403).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from engine.exchanges.simulator.clock import Clock
from engine.exchanges.simulator.wire import Call, Reply
from engine.exchanges.simulator.world import DAY_MS, Route

_WEIGHT: Final = {"binance": 6000, "binanceusdm": 2400}
_ORDERS_10S: Final = {"binance": 100, "binanceusdm": 300}
_ORDERS_MINUTE: Final = 1200
_ORDERS_DAY: Final = 200_000
_BYBIT_IP: Final = 600
_BYBIT_IP_MS: Final = 5000
_BYBIT_GROUPS: Final = {("create", "linear"): 10, ("create", "spot"): 20, ("query", ""): 50, ("other", ""): 50}
_WARNINGS: Final = 10


class LimitReached(Exception):
    """The venue's refusal as a ready reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(str(reply.status))


@dataclass(slots=True)
class Window:
    """A fixed window: how much was counted since it began."""

    started_ms: int = 0
    count: int = 0

    def add(self, now_ms: int, width_ms: int, amount: int) -> int:
        """Count and return the total of the current window."""
        start = now_ms - now_ms % width_ms
        if start != self.started_ms:
            self.started_ms, self.count = start, 0
        self.count += amount
        return self.count

    def left_ms(self, now_ms: int, width_ms: int) -> int:
        """Time until the window ends."""
        return max(1, self.started_ms + width_ms - now_ms)


@dataclass(slots=True)
class Limits:
    """Counters of all IPs and accounts. An IP that ignores Binance's 429 is shut out for `ban_s`, one that floods Bybit `bybit_ban_s`."""

    clock: Clock
    ban_s: float = 120.0
    bybit_ban_s: float = 600.0
    windows: dict[tuple[str, ...], Window] = field(default_factory=dict)
    banned: dict[tuple[str, str], int] = field(default_factory=dict)
    warned: dict[tuple[str, str], int] = field(default_factory=dict)

    def charge_ip(self, call: Call, route: Route) -> dict[str, str]:
        """Count a request against its IP before anything else looks at it."""
        key, now = (call.exchange, call.remote), self.clock.now_ms()
        if self.banned.get(key, 0) > now:
            raise self._ban(call, key, now)
        if call.exchange == "bybit":
            if self._window("ip", *key).add(now, _BYBIT_IP_MS, 1) > _BYBIT_IP:
                self.banned[key] = now + int(self.bybit_ban_s * 1000)
                raise self._ban(call, key, now)
            return {}
        window, limit = self._window("weight", *key), _WEIGHT[call.exchange]
        weight = route.weight_all if route.weight_all and "symbol" not in call.query else route.weight
        used = window.add(now, 60_000, weight)
        headers = {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
        if used > limit:
            self.warned[key] = self.warned.get(key, 0) + 1
            if self.warned[key] > _WARNINGS:
                self.banned[key], self.warned[key] = now + int(self.ban_s * 1000), 0
                raise self._ban(call, key, now)
            text = f"Too many requests; current limit is {limit} request weight per 1 MINUTE. Please use WebSocket Streams."
            raise _binance(429, -1003, text, window.left_ms(now, 60_000), headers)
        return headers

    def charge_account(self, call: Call, route: Route) -> dict[str, str]:
        """Count an authenticated request against its account."""
        if call.exchange == "bybit":
            return self._bybit_group(call, route)
        return self._binance_orders(call) if route.group == "order" else {}

    def filled(self, call: Call) -> None:
        """Spot counts unfilled orders only: orders that have a fill are taken off again."""
        if call.exchange == "binance":
            for order in call.orders:
                for name in ("orders", "day") if order.filled else ():
                    window = self._window(name, call.exchange, call.owner.api_key)
                    window.count = max(0, window.count - 1)

    def _binance_orders(self, call: Call) -> dict[str, str]:
        now, key = self.clock.now_ms(), call.owner.api_key
        short = self._window("orders", call.exchange, key)
        count, limit = short.add(now, 10_000, 1), _ORDERS_10S[call.exchange]
        headers = {"X-MBX-ORDER-COUNT-10S": str(count)}
        if call.exchange == "binance":
            day = self._window("day", call.exchange, key)
            headers["X-MBX-ORDER-COUNT-1D"] = str(day.add(now, DAY_MS, 1))
            if day.count > _ORDERS_DAY:
                text = f"Too many new orders; current limit is {_ORDERS_DAY} orders per 1 DAY."
                raise _binance(429, -1015, text, day.left_ms(now, DAY_MS), headers)
        if call.exchange == "binanceusdm":
            minute = self._window("minute", call.exchange, key)
            total = minute.add(now, 60_000, 1)
            headers["X-MBX-ORDER-COUNT-1M"] = str(total)
            if total > _ORDERS_MINUTE:
                text = f"Too many new orders; current limit is {_ORDERS_MINUTE} orders per 1 MINUTE."
                raise _binance(429, -1015, text, minute.left_ms(now, 60_000), headers)
        if count > limit:
            text = f"Too many new orders; current limit is {limit} orders per 10 SECOND."
            raise _binance(429, -1015, text, short.left_ms(now, 10_000), headers)
        return headers

    def _bybit_group(self, call: Call, route: Route) -> dict[str, str]:
        if not route.group:
            return {}
        category = call.params.get("category", "linear") if route.group == "create" else ""
        limit, now = _BYBIT_GROUPS.get((route.group, category), 10), self.clock.now_ms()
        window = self._window("group", route.group, category, call.owner.api_key)
        used = window.add(now, 1000, 1)
        headers = {
            "X-Bapi-Limit": str(limit),
            "X-Bapi-Limit-Status": str(max(0, limit - used)),
            "X-Bapi-Limit-Reset-Timestamp": str(now + window.left_ms(now, 1000)),
        }
        if used > limit:
            text = "Too many visits. Exceeded the API Rate Limit."
            body = {"retCode": 10006, "retMsg": text, "result": {}, "retExtInfo": {}, "time": now}
            raise LimitReached(Reply(body, 200, headers))
        return headers

    def _window(self, *key: str) -> Window:
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = Window()
        return found

    def _ban(self, call: Call, key: tuple[str, str], now: int) -> LimitReached:
        until = self.banned[key]
        if call.exchange == "bybit":
            return LimitReached(Reply(status=403, body=b"access too frequent", content_type="text/html"))
        text = f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live updates to avoid bans."
        return _binance(418, -1003, text, until - now, {})


def _binance(status: int, code: int, text: str, wait_ms: int, headers: dict[str, str]) -> LimitReached:
    wait = {"Retry-After": str(-(-wait_ms // 1000))}
    return LimitReached(Reply({"code": code, "msg": text}, status, headers | wait))
