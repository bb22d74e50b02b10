"""From a parsed call to a reply: routing by path and Host, limits, authentication, the venue's handler, errors in its wire format."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from engine.exchanges.simulator import (
    binance_algo,
    binance_batch,
    binance_common,
    binance_history,
    binance_margin,
    binance_replace,
    binance_sapi,
    binance_spot_account,
    binance_usdm_account,
    bybit_account,
    bybit_history,
    bybit_settings,
    funding,
)
from engine.exchanges.simulator.bybit_common import refuse
from engine.exchanges.simulator.limits import LimitReached, Limits
from engine.exchanges.simulator.model import Refused
from engine.exchanges.simulator.signatures import authenticate, key_account
from engine.exchanges.simulator.wire import Call, Malformed, Reply, VenueError
from engine.exchanges.simulator.world import Route, World

Key = tuple[str, str]
ROUTES: Final[dict[str, dict[Key, Route]]] = {
    "binance": binance_spot_account.ROUTES | binance_replace.ROUTES | binance_sapi.ROUTES | binance_history.SPOT,
    "binanceusdm": binance_usdm_account.ROUTES
    | binance_batch.ROUTES
    | binance_algo.ROUTES
    | binance_margin.ROUTES
    | binance_history.USDM
    | funding.USDM,
    "bybit": bybit_account.ROUTES | bybit_history.ROUTES | bybit_settings.ROUTES | funding.BYBIT,
}
_PREFIXES: Final = (
    ("/fapi/", "binanceusdm"),
    ("/futures/", "binanceusdm"),
    ("/api/", "binance"),
    ("/sapi/", "binance"),
    ("/dapi/", "binance"),
    ("/v5/", "bybit"),
)
_HOSTS: Final = {
    "api.binance.com": {"/api/", "/sapi/"},
    "fapi.binance.com": {"/fapi/", "/futures/"},
    "dapi.binance.com": {"/dapi/"},
    "api.bybit.com": {"/v5/"},
}


def exchange_of(path: str, host: str) -> str | None:
    """The exchange that a path belongs to; a venue's real host name serves its own paths only, any other host serves all."""
    for prefix, exchange in _PREFIXES:
        if path.startswith(prefix):
            allowed = _HOSTS.get(host.partition(":")[0])
            return exchange if allowed is None or prefix in allowed else None
    return None


class Dispatcher:
    """Runs calls against the world. `limits` is None when they are off."""

    def __init__(self, world: World, limits: Limits | None) -> None:
        self.world, self.limits = world, limits
        self.requests: Counter[str] = Counter()

    def route(self, call: Call) -> Route | None:
        """The endpoint of a call; counts it."""
        self.requests[f"{call.exchange} {call.method} {call.path}"] += 1
        return ROUTES[call.exchange].get((call.method, call.path))

    def open(self, call: Call, route: Route) -> Reply | None:
        """Limits, parameters, authentication. A reply means: refused, do not run."""
        headers: dict[str, str] = {}
        try:
            if self.limits is not None:
                headers = self.limits.charge_ip(call, route)
            call.parse()
            if route.auth == "signed":
                call.account = authenticate(call, self._accounts(call), self.world.clock.now_ms())
            elif route.auth == "key":
                call.account = key_account(call, self._accounts(call))
            if self.limits is not None and call.account is not None:
                headers |= self.limits.charge_account(call, route)
        except (VenueError, Malformed) as error:
            return self.refusal(call, error, headers)
        except LimitReached as reached:
            return reached.reply
        call.reply_headers = headers
        return None

    def run(self, call: Call, route: Route) -> Reply:
        """Run the handler of an opened call."""
        try:
            value = route.handler(self.world, call)
        except (VenueError, Malformed, Refused) as error:
            return self.refusal(call, error, call.reply_headers)
        if self.limits is not None:
            self.limits.filled(call)
        return self._success(call, value)

    def _accounts(self, call: Call) -> dict[Key, Any]:
        """Accounts by key; `/sapi` also serves keys that were registered for futures only."""
        accounts = self.world.registry.by_key
        if call.path.startswith("/sapi/"):
            key = call.headers.get("X-MBX-APIKEY", "")
            if ("binance", key) not in accounts and ("binanceusdm", key) in accounts:
                return {("binance", key): accounts["binanceusdm", key]}
        return accounts

    def _success(self, call: Call, value: Any) -> Reply:
        if call.exchange != "bybit":
            return Reply(value, headers=call.reply_headers)
        extra: Any = {}
        if isinstance(value, tuple):
            value, extra = value
        now = self.world.clock.now_ms()
        return Reply({"retCode": 0, "retMsg": "OK", "result": value, "retExtInfo": extra, "time": now}, headers=call.reply_headers)

    def unknown(self, call: Call) -> Reply:
        """The reply to an endpoint that is not served, in the venue's wire format."""
        wrong = f"Path {call.path}, Method {call.method} is invalid"
        if call.exchange == "bybit":
            return self.refusal(call, VenueError(10017, f"Request path not found or request method is invalid. {wrong}", 404), {})
        if call.exchange == "binanceusdm":
            return self.refusal(call, VenueError(-5000, wrong, 404), {})
        return self.refusal(call, VenueError(-1020, f"This operation is not supported. {wrong}", 404), {})

    def refusal(self, call: Call, error: Exception, headers: dict[str, str]) -> Reply:
        """An error in the venue's wire format."""
        refusal = self._as_venue_error(call, error)
        if call.exchange == "bybit":
            now = self.world.clock.now_ms()
            body = {"retCode": refusal.code, "retMsg": refusal.message, "result": {}, "retExtInfo": {}, "time": now}
            return Reply(body, refusal.status, headers)
        more = {} if refusal.data is None else {"data": refusal.data}
        return Reply({"code": refusal.code, "msg": refusal.message} | more, refusal.status, headers)

    def _as_venue_error(self, call: Call, error: Exception) -> VenueError:
        if isinstance(error, VenueError):
            return error
        if isinstance(error, Refused):
            return binance_common.venue_error(call.exchange, error)
        assert isinstance(error, Malformed)
        return refuse(10001, f"params error: {error} invalid") if call.exchange == "bybit" else binance_common.malformed(error)
