"""Our own request budgets, by IP and by key, and the pauses that venues ask for. ccxt's throttler is off.

Enters: how much a request weighs. Leaves: seconds to wait before it may be sent (0 = now, and it is counted). Orders may use an IP's
budget but for the share that reports have for themselves: equity must stay fresh however many orders there are. Of the rest reports
leave a part to orders.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from engine.domain.values import Venue
from engine.exchanges.port import Hint, Judgement
from engine.executor.jobs import Account

READ_SHARE: Final = 0.5
"""Reads stop when this share of a budget's burst is used up; the rest is for orders."""
REPORT_SHARE: Final = 0.2
"""Share of an IP's budget that only reports may use."""
KEYS_REMEMBERED: Final = 20_000
SAFETY: Final = 0.9


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` per `window_s`, as the venue counts it."""

    amount: float
    window_s: float


class Bucket:
    """A token bucket that never exceeds the venue's count in any window: a tenth of it as burst, the rest spread evenly."""

    __slots__ = ("_at", "_burst", "_level", "_per_s")

    def __init__(self, rate: Rate) -> None:
        self._burst = max(rate.amount * (1 - SAFETY), 1.0)
        self._per_s = max(rate.amount - self._burst, rate.amount / 2) / rate.window_s
        self._level, self._at = self._burst, 0.0

    def delay(self, cost: float, now: float, reserve: float = 0.0) -> float:
        """Seconds until `cost` fits with `reserve` (share of the burst) left over."""
        self._level = min(self._burst, self._level + (now - self._at) * self._per_s) if self._at else self._burst
        self._at = now
        missing = min(cost, self._burst) - (self._level - reserve * self._burst)
        return max(missing / self._per_s, 0.0)

    def take(self, cost: float) -> None:
        """Count a request."""
        self._level -= cost

    def left(self, now: float) -> float:
        """Share of the burst that is left."""
        self.delay(0.0, now)
        return max(self._level / self._burst, 0.0)


@dataclass(frozen=True, slots=True)
class VenueRates:
    """A venue's budgets: the IP's and each key's, and what a request costs of the IP's. A query is about one order, a report (equity and
    positions) about one account."""

    ip: Rate
    key_orders: tuple[Rate, ...]
    costs: dict[Read | Literal["order"], float]
    key_reads: tuple[Rate, ...] = ()


Read = Literal["query", "report", "open_orders", "funding"]
RATES: Final[dict[Venue, VenueRates]] = {
    "binance": VenueRates(
        Rate(6000, 60), (Rate(100, 10), Rate(200_000, 86_400)), {"order": 1, "query": 10, "report": 20, "open_orders": 80, "funding": 0}
    ),
    "binanceusdm": VenueRates(
        Rate(2400, 60), (Rate(300, 10), Rate(1200, 60)), {"order": 0, "query": 5, "report": 10, "open_orders": 40, "funding": 30}
    ),
    "bybit": VenueRates(
        Rate(600, 5), (Rate(20, 1),), {"order": 1, "query": 2, "report": 1, "open_orders": 1, "funding": 0}, (Rate(50, 1),)
    ),
    "bybitlinear": VenueRates(
        Rate(600, 5), (Rate(10, 1),), {"order": 1, "query": 2, "report": 2, "open_orders": 1, "funding": 1}, (Rate(50, 1),)
    ),
}
_SHARED_IP: Final[dict[Venue, Venue]] = {"bybitlinear": "bybit"}
"""Both categories of Bybit count against one IP budget."""


def _part(rate: Rate, share: float) -> Rate:
    return Rate(rate.amount * share, rate.window_s)


class Limits:
    """All budgets of this process. With `enforced` False only the venues' own pauses count. Accounts at the paper venue use no
    budget and are paused on their own."""

    def __init__(self, enforced: bool, clock: Callable[[], float], unsaid_pause_s: float) -> None:
        self._enforced, self._clock, self._unsaid_pause_s = enforced, clock, unsaid_pause_s
        self._ip = {venue: Bucket(_part(rates.ip, 1 - REPORT_SHARE)) for venue, rates in RATES.items()}
        self._reports = {venue: Bucket(_part(rates.ip, REPORT_SHARE)) for venue, rates in RATES.items()}
        self._keys: OrderedDict[Account, tuple[list[Bucket], list[Bucket]]] = OrderedDict()
        self._paused_ip: dict[Venue, float] = {}
        self._paused_key: dict[Account, float] = {}

    def _key(self, account: Account, venue: Venue) -> tuple[list[Bucket], list[Bucket]]:
        buckets = self._keys.get(account)
        if buckets is None:
            rates = RATES[venue]
            buckets = [Bucket(rate) for rate in rates.key_orders], [Bucket(rate) for rate in rates.key_reads]
            self._keys[account] = buckets
            if len(self._keys) > KEYS_REMEMBERED:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(account)
        return buckets

    def ip_delay(self, venue: Venue, account: Account | None = None) -> float:
        """Seconds until this IP may send an order (of the account) to the venue."""
        if account is not None and account.mode == "paper":
            return 0.0
        now, shared = self._clock(), _SHARED_IP.get(venue, venue)
        wait = max(self._paused_ip.get(shared, 0.0) - now, 0.0)
        if not self._enforced:
            return wait
        return max(wait, self._ip[shared].delay(RATES[venue].costs["order"], now))

    def take_order(self, account: Account, venue: Venue) -> float:
        """Count an order; when the key may not send yet, count nothing and give the seconds to wait. Ask `ip_delay` before."""
        now = self._clock()
        wait = max(self._paused_key.get(account, 0.0) - now, 0.0)
        if not self._enforced or account.mode == "paper":
            return wait
        buckets = self._key(account, venue)[0]
        wait = max([wait, *(bucket.delay(1, now) for bucket in buckets)])
        if wait:
            return wait
        for bucket in buckets:
            bucket.take(1)
        self._ip[_SHARED_IP.get(venue, venue)].take(RATES[venue].costs["order"])
        return 0.0

    def take_read(self, account: Account, venue: Venue, what: Read = "report") -> float:
        """Count a read, or give the seconds to wait. Queries (reconciliation) need leave nothing to orders; the others take what orders
        leave, or their own share."""
        now, shared = self._clock(), _SHARED_IP.get(venue, venue)
        wait = max(self._paused_key.get(account, 0.0) - now, 0.0)
        if account.mode == "paper":
            return wait
        wait = max(self._paused_ip.get(shared, 0.0) - now, wait)
        if not self._enforced:
            return wait
        cost, buckets = RATES[venue].costs[what], self._key(account, venue)[1]
        common, own = self._ip[shared], self._reports[shared]
        delays = [(common.delay(cost, now, 0.0 if what == "query" else READ_SHARE), common)]
        if what != "query":
            delays.append((own.delay(cost, now), own))
        ip_wait, bucket = min(delays, key=lambda found: found[0])
        wait = max([wait, ip_wait, *(key_bucket.delay(1, now) for key_bucket in buckets)])
        if wait:
            return wait
        for each in (*buckets, bucket):
            each.take(cost if each is bucket else 1)
        return 0.0

    def left(self, venue: Venue) -> tuple[float, float]:
        """Shares of the IP's burst that are left: for orders (and all else), and for reports alone."""
        now, shared = self._clock(), _SHARED_IP.get(venue, venue)
        return self._ip[shared].left(now), self._reports[shared].left(now)

    def ip_paused_s(self, venue: Venue) -> float:
        """For how long the venue has forbidden this IP to ask."""
        return max(self._paused_ip.get(_SHARED_IP.get(venue, venue), 0.0) - self._clock(), 0.0)

    def heed(self, account: Account, verdict: Judgement) -> None:
        """Obey the pause that a call was answered with, when that was the answer."""
        if verdict.hint is Hint.LIMITED:
            self.pause(account, verdict)

    def pause(self, account: Account, verdict: Judgement) -> float:
        """Obey a venue's `Retry-After` (or what its documentation demands); gives the seconds."""
        seconds, venue = verdict.retry_after_s or self._unsaid_pause_s, account.venue
        until = self._clock() + seconds
        if verdict.whole_ip and account.mode != "paper":
            shared = _SHARED_IP.get(venue, venue)
            self._paused_ip[shared] = max(until, self._paused_ip.get(shared, 0.0))
        else:
            self._paused_key[account] = max(until, self._paused_key.get(account, 0.0))
            if len(self._paused_key) > KEYS_REMEMBERED:
                self._paused_key = {key: at for key, at in self._paused_key.items() if at > self._clock()}
        return seconds
