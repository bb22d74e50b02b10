"""Fault plan: scripted rules and seeded rates enter, the fault for one request leaves; counts what was really applied.

`KINDS` says for each fault whether the request is executed and which exchanges know it. Which request meets a fault is a pure
function of (seed, client order id, how often it came), in whatever order they arrive; of the kinds that fit, the one that was drawn least
comes next, so that a run of some thousand orders meets every kind about equally often.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from engine.exchanges.simulator.wire import Call

BINANCE: Final = frozenset({"binance", "binanceusdm"})
BYBIT: Final = frozenset({"bybit"})
_ALL: Final = BINANCE | BYBIT
KINDS: Final[dict[str, frozenset[str]]] = {
    "reject": _ALL,
    "drop": _ALL,
    "accept_and_drop": _ALL,
    "accept_and_truncate": _ALL,
    "accept_and_delay": _ALL,
    "execute_late": _ALL,
    "html_200": _ALL,
    "html_200_executed": _ALL,
    "empty_200": _ALL,
    "empty_200_executed": _ALL,
    "http_502": _ALL,
    "http_502_executed": _ALL,
    "http_503": _ALL,
    "http_503_executed": _ALL,
    "http_504": _ALL,
    "http_504_executed": _ALL,
    "http_408": _ALL,
    "http_408_executed": _ALL,
    "unknown_code": _ALL,
    "unknown_code_executed": _ALL,
    "http_429": BINANCE,
    "http_418": BINANCE,
    "http_403": BYBIT,
    "bybit_10006": BYBIT,
    "ack_then_reject": BYBIT,
    "query_lag": _ALL,
    "realtime_cleared": BYBIT,
    "history_window": _ALL,
}
"""Fault kind to the exchanges that can show it."""
SCRIPTED_ONLY: Final = frozenset({"history_window"})
"""Not drawn by a plain `rate`: it makes an order that ended without a fill unfindable for ever."""
ORDER_ONLY: Final = frozenset({"execute_late", "ack_then_reject", "query_lag", "realtime_cleared", "history_window"})
_KNOBS: Final = ("delay_s", "late_s", "lag_s", "retry_after_s")


@dataclass(slots=True)
class Rule:
    """One scripted fault: which requests it waits for, from the nth match, how many times."""

    kind: str
    on: str = "create"
    client_id: str = ""
    api_key: str = ""
    venue: str = ""
    nth: int = 1
    times: int = 1
    seconds: float | None = None
    code: int = 0
    drop: bool = True
    matches: int = 0


@dataclass(slots=True)
class Fault:
    """What happens to one request. `seconds` is the delay, lag or Retry-After of its kind."""

    kind: str
    seconds: float
    code: int = 0
    drop: bool = True


@dataclass(slots=True)
class FaultPlan:
    """All faults to come. `rates` are kind to probability, tried on requests of kind `on`."""

    seed: int = 0
    on: str = "create"
    rates: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    kinds: tuple[str, ...] = tuple(kind for kind in KINDS if kind not in SCRIPTED_ONLY)
    delay_s: float = 12.0
    late_s: float = 1.5
    lag_s: float = 5.0
    retry_after_s: float = 1.0
    rules: list[Rule] = field(default_factory=list)
    applied: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)

    @property
    def active(self) -> bool:
        """Something may still happen."""
        return bool(self.rules or self.rates or self.rate)

    def pick(self, call: Call, kind: str) -> Fault | None:
        """The fault for this request of kind `create`, `query`, `cancel` or `other`."""
        for rule in self.rules:
            if _matches(rule, call, kind):
                rule.matches += 1
                if rule.matches >= rule.nth:
                    rule.times -= 1
                    if rule.times <= 0:
                        self.rules.remove(rule)
                    return self._fault(rule.kind, rule)
        if (self.rate or self.rates) and self.on in (kind, "any"):
            return self._draw(call, kind)
        return None

    def _draw(self, call: Call, kind: str) -> Fault | None:
        name = client_id(call) or call.path
        self.seen[name] += 1
        digest = hashlib.blake2b(f"{self.seed}:{call.exchange}:{name}:{self.seen[name]}".encode(), digest_size=6).digest()
        dice = int.from_bytes(digest) / 2**48
        if dice < self.rate:
            possible = [k for k in self.kinds if exchange_fits(k, call.exchange, kind)]
            return self._fault(self._rarest(possible, digest[-1]), None) if possible else None
        dice -= self.rate
        for choice, probability in self.rates.items():
            if exchange_fits(choice, call.exchange, kind):
                if dice < probability:
                    return self._fault(choice, None)
                dice -= probability
        return None

    def _rarest(self, possible: list[str], start: int) -> str:
        """The kind that was drawn least, the first one counted from a seeded start."""
        turned = possible[start % len(possible) :] + possible[: start % len(possible)]
        kind = min(turned, key=self.drawn.__getitem__)
        self.drawn[kind] += 1
        return kind

    def _fault(self, kind: str, rule: Rule | None) -> Fault:
        seconds = self.delay_s if kind == "accept_and_delay" else self.late_s if kind == "execute_late" else self.lag_s
        if kind in ("http_429", "http_418", "http_403"):
            seconds = self.retry_after_s
        if rule is None:
            return Fault(kind, seconds)
        return Fault(kind, seconds if rule.seconds is None else rule.seconds, rule.code, rule.drop)


def exchange_fits(fault: str, exchange: str, kind: str) -> bool:
    """The exchange can show this fault on a request of this kind."""
    return exchange in KINDS[fault] and (kind == "create" or fault not in ORDER_ONLY)


def client_id(call: Call) -> str:
    """The client order id of a request, whatever the endpoint calls it."""
    params = call.params
    for name in ("newClientOrderId", "orderLinkId", "clientAlgoId", "origClientOrderId"):
        if params.get(name):
            return params[name]
    return ""


def _matches(rule: Rule, call: Call, kind: str) -> bool:
    if rule.on not in (kind, "any") or call.exchange not in KINDS[rule.kind]:
        return False
    if rule.venue and rule.venue not in (call.exchange, _venue(call)):
        return False
    if rule.api_key and (call.account is None or call.account.api_key != rule.api_key):
        return False
    return not rule.client_id or rule.client_id == client_id(call)


def _venue(call: Call) -> str:
    return "bybitlinear" if call.exchange == "bybit" and call.params.get("category") == "linear" else call.exchange


def parse_faults(text: str) -> dict[str, Any]:
    """`rate=0.2,seed=1,kinds=reject|drop,lag_s=2,accept_and_drop=0.1` as the JSON form that `configure` takes."""
    spec: dict[str, Any] = {}
    for word in filter(None, text.split(",")):
        name, mark, value = word.strip().partition("=")
        if not mark:
            raise ValueError(f"faults: got {word!r}, expected name=value")
        spec[name] = value.split("|") if name == "kinds" else value
    return spec


def configure(plan: FaultPlan, spec: dict[str, Any]) -> None:
    """Change a plan by `{clear?, seed?, rate?, on?, kinds?, knobs, <kind>: probability, rules?: [...]}`; ValueError names what is wrong."""
    if spec.get("clear"):
        plan.rules, plan.rates, plan.rate = [], {}, 0.0
    for name, value in spec.items():
        if name in ("seed", "rate", "on", *_KNOBS):
            setattr(plan, name, {"seed": int, "on": str}.get(name, float)(value))
        elif name == "kinds":
            plan.kinds = tuple(_known(kind) for kind in value)
        elif name == "rules":
            plan.rules.extend(_rule(item) for item in value)
        elif name != "clear":
            plan.rates[_known(name)] = float(value)


def _rule(item: dict[str, Any]) -> Rule:
    _known(str(item.get("kind")))
    unknown = item.keys() - Rule.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"rule: unknown {', '.join(sorted(unknown))}")
    return Rule(**item)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"fault kind: got {kind!r}, expected one of {', '.join(KINDS)}")
    return kind
