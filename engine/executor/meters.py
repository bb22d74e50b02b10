"""What the executor counts: commands, attempts and end states by venue, and what is looked up of queues, budgets and breakers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from engine.domain.messages import OrderSettled
from engine.domain.values import Venue
from engine.exchanges.port import Judgement
from engine.executor.breaker import Breaker
from engine.executor.jobs import Account, Job
from engine.executor.limits import Limits
from engine.meters import Meters, Sample, age_s

EXECUTOR: Final = Meters("executor")
COMMANDS: Final = EXECUTOR.counter("remora_records_in_total", "Command records read; repeats are dropped by their sequence.")
ATTEMPTS: Final = EXECUTOR.counter(
    "remora_attempts_total", "Requests that placed or tried to place an order, by verdict.", "venue", "kind", "verdict"
)
ATTEMPT_SECONDS: Final = EXECUTOR.histogram("remora_attempt_seconds", "Time of one order request at the venue.", "venue")
SETTLED: Final = EXECUTOR.counter("remora_orders_settled_total", "Orders that have their end state.", "venue", "kind", "status")
MISSED: Final = EXECUTOR.counter("remora_orders_missed_total", "Orders that were not placed, by reason.", "venue", "reason")
SETTLE_SECONDS: Final = EXECUTOR.histogram("remora_order_seconds", "Time from an order's first attempt until its end state.", "venue")
CLAIMS: Final = EXECUTOR.counter("remora_claims_total", "Shards claimed.")
REPORTS: Final = EXECUTOR.counter("remora_account_reports_total", "Reports of accounts: read or failed.", "venue", "result")
SHARDS: Final = EXECUTOR.gauge("remora_shards_owned", "Shards that this process has claimed and serves.")
LAG: Final = EXECUTOR.gauge("remora_lag_records", "Commands that are not read yet.", "shard")
LAG_SECONDS: Final = EXECUTOR.gauge("remora_lag_seconds", "Since the decision of the oldest order without an attempt, by venue.", "venue")
STAGES: Final = EXECUTOR.gauge(
    "remora_orders", "Orders without an end state: waiting, attempting, acknowledged, unknown.", "venue", "kind", "stage"
)
UNKNOWN_SECONDS: Final = EXECUTOR.gauge(
    "remora_unknown_oldest_seconds", "Since the first attempt of the oldest order of which is not known what became of it.", "venue"
)
BREAKER: Final = EXECUTOR.gauge("remora_breaker_open", "1 while only probes may go to the venue.", "venue")
FAILURES: Final = EXECUTOR.gauge("remora_breaker_failures", "Requests in a row without a verdict.", "venue")
BUDGET: Final = EXECUTOR.gauge(
    "remora_budget_left_ratio", "Share of our own burst of requests to the venue that is left.", "venue", "budget"
)
PAUSE: Final = EXECUTOR.gauge("remora_venue_pause_seconds", "For how long the venue has forbidden our IP to ask.", "venue")
ACCOUNTS: Final = EXECUTOR.gauge("remora_accounts", "Accounts with keys in the vault.", "venue")
FREE: Final = EXECUTOR.gauge("remora_slots_free", "Orders that may be attempted at once beyond those under way.")

# Finding the child of a label costs more than counting: they are few, and stay.
_attempts, _settled, _missed = cache(ATTEMPTS.labels), cache(SETTLED.labels), cache(MISSED.labels)
_attempt_seconds, _settle_seconds = cache(ATTEMPT_SECONDS.labels), cache(SETTLE_SECONDS.labels)


def count_attempt(job: Job, verdict: Judgement, seconds: float) -> None:
    """A request was answered, or not."""
    venue = job.order.venue
    _attempts(venue, job.order.kind, verdict.verdict.name.lower()).inc()
    _attempt_seconds(venue).observe(seconds)


def count_settled(job: Job, settled: OrderSettled) -> None:
    """An order has its end state."""
    venue = job.order.venue
    _settled(venue, job.order.kind, settled.status).inc()
    if settled.status == "missed":
        _missed(venue, settled.reason).inc()
    if settled.attempted_at is not None:
        _settle_seconds(venue).observe(max(settled.settled_at - settled.attempted_at, 0) / 1000)


def stage_of(job: Job) -> str:
    """How far an order without an end state is."""
    if job.unresolved:
        return "unknown"
    if job.acknowledged_at is not None:
        return "acknowledged"
    return "attempting" if job.running else "waiting"


def order_samples(jobs: Iterable[Job], venues: Iterable[Venue]) -> Iterator[Sample]:
    """Orders by stage, and the oldest that waits or is unknown."""
    stages: Counter[tuple[str, str, str]] = Counter()
    oldest: dict[Venue, float] = {}
    unknown: dict[Venue, float] = {}
    for job in jobs:
        order, stage = job.order, stage_of(job)
        stages[order.venue, order.kind, stage] += 1
        if stage == "unknown":
            unknown[order.venue] = min(job.since, unknown.get(order.venue, job.since))
        elif not job.attempts:
            oldest[order.venue] = min(order.decided_at, oldest.get(order.venue, order.decided_at))
    for key, count in stages.items():
        yield STAGES, key, count
    for venue in venues:
        yield LAG_SECONDS, (venue,), age_s(oldest.get(venue))
        yield UNKNOWN_SECONDS, (venue,), age_s(unknown.get(venue))


def account_samples(accounts: Iterable[Account]) -> Iterator[Sample]:
    """Accounts by venue."""
    for venue, count in Counter(account.venue for account in accounts).items():
        yield ACCOUNTS, (venue,), count


def venue_samples(limits: Limits, breakers: dict[Venue, Breaker]) -> Iterator[Sample]:
    """Budgets and breakers."""
    for venue, breaker in breakers.items():
        yield BREAKER, (venue,), float(breaker.is_open)
        yield FAILURES, (venue,), breaker.failures
        orders, reports = limits.left(venue)
        yield BUDGET, (venue, "orders"), orders
        yield BUDGET, (venue, "reports"), reports
        yield PAUSE, (venue,), limits.ip_paused_s(venue)
