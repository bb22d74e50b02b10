"""The port to a venue: what the executor may ask, and the shapes that come back. One file a venue implements it.

Enters: credentials, an order with its client id, the attempt's own timestamp. Leaves: a judgement about certainty (never an exception)
for the one call that moves money, and `CallFailed` for reads, which may be repeated at will. Amounts are `Decimal` of the raw strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Protocol

from pydantic import SecretStr

from engine.domain.messages import PlaceOrder
from engine.domain.reports import OpenOrder
from engine.domain.values import MarketRules, Side, Venue, VenuePosition


class Verdict(Enum):
    """What a reply proves. Only `REJECTED` and `NOT_SENT` allow the order to be sent again."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class Hint(Enum):
    """What to do about a verdict beyond its plain meaning."""

    NONE = ""
    FINAL = "final"
    """The same request can never succeed."""
    AGAIN = "again"
    """The state of market or account forbids it now."""
    LIMITED = "limited"
    """Too many requests; `retry_after_s` says how long."""
    CLOCK = "clock"
    """Our timestamp was outside the window: measure the clock, send again."""
    RECONCILE = "reconcile"
    """A reduce-only order found nothing to reduce: read the position."""
    FUNDS = "funds"
    KEYS = "keys"
    DUPLICATE = "duplicate"
    """An order with our id exists: fetch it."""
    LOCAL = "local"
    """Our own client refused the request: nothing was sent and nothing would be."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict on one reply, the raw code it rests on, and the venue's words (cut). `retry_after_s` 0: the venue did not say."""

    verdict: Verdict
    hint: Hint = Hint.NONE
    code: str = ""
    reason: str = ""
    retry_after_s: float = 0.0
    whole_ip: bool = False


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as the venue shows it. `final` = nothing more will trade; `refused` = ended by the venue without a trade.

    `complete` is False when fees have to be read by `details` first.
    """

    exchange_order_id: str
    final: bool
    filled: Decimal
    average_price: Decimal | None
    fee_base: Decimal = Decimal(0)
    fee_quote: Decimal = Decimal(0)
    status: str = ""
    refused: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Credential:
    """Keys of one account; printing it shows neither. `version` changes when the keys do; `paper`: an account at the paper venue."""

    follower_id: str
    venue: Venue
    api_key: SecretStr
    secret: SecretStr
    version: int = 1
    paper: bool = False


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One attempt: signed with `sent_at` (ms), void at the venue after `sent_at + recv_window_ms`."""

    client_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None
    reduce_only: bool
    sent_at: int
    recv_window_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Judgement on an attempt and, when the reply itself shows it, the order."""

    judgement: Judgement
    state: OrderState | None = None


@dataclass(frozen=True, slots=True)
class AccountView:
    """Balances of an account: equity (wallet + unrealised) and free quote, positions by venue symbol (spot: base balances)."""

    equity: Decimal
    available: Decimal
    positions: tuple[VenuePosition, ...]

    def position(self, symbol: str) -> Decimal:
        """Signed quantity held of `symbol`."""
        return next((held.quantity for held in self.positions if held.symbol == symbol), Decimal(0))


@dataclass(frozen=True, slots=True)
class Funding:
    """One funding payment: `amount` is added to the account (negative: paid), `at` is the venue's time in ms."""

    symbol: str
    funding_id: str
    amount: Decimal
    at: int


class CallFailed(Exception):
    """A read failed or proved nothing. Carries the judgement, for limits and the breaker."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        super().__init__(f"{judgement.verdict.value} {judgement.code} {judgement.reason}".strip())


class Exchange(Protocol):
    """A venue. Everything but `place` may be called as often as wanted."""

    venue: Venue
    resend_safe: bool
    """The venue remembers a client id for ever, so that even a wrong ABSENT cannot place twice."""

    signed_rules: bool
    """A part of the rules is told to accounts only, see `load_signed_rules`."""

    async def start(self) -> None:
        """Load markets and measure the clock; raises `CallFailed`."""

    def rules(self) -> tuple[MarketRules, ...]:
        """Market rules of every mapped symbol, from the loaded markets."""

    async def load_signed_rules(self, keys: Credential) -> None:
        """Read, with any account's keys, what `rules` shows from then on: the highest leverage of each symbol."""

    async def marks(self) -> dict[str, Decimal]:
        """Newest price of every mapped symbol."""

    async def sync_clock(self) -> None:
        """Measure the venue's clock against ours."""

    async def place(self, keys: Credential, request: OrderRequest) -> Answer:
        """One POST; never raises for what the outside world does."""

    async def find(self, keys: Credential, order: PlaceOrder) -> OrderState | None:
        """The order by its client id, through the calls that show it first; None = not (yet) visible."""

    async def search(self, keys: Credential, order: PlaceOrder, since_ms: int) -> tuple[OrderState | None, bool]:
        """Ask every source. (state, False) when any knows it; (None, True) only when all agree that it does not exist."""

    async def details(self, keys: Credential, order: PlaceOrder, state: OrderState) -> OrderState:
        """The final state with its fees."""

    async def account(self, keys: Credential, marks: dict[str, Decimal]) -> AccountView:
        """Equity and positions."""

    async def open_orders(self, keys: Credential) -> tuple[OpenOrder, ...]:
        """Every order of the account that rests at the venue, of whatever market."""

    async def funding(self, keys: Credential, since_ms: int) -> list[Funding]:
        """The account's funding payments from `since_ms` (the venue's clock) on, oldest first."""

    async def set_leverage(self, keys: Credential, symbol: str, leverage: Decimal) -> Judgement:
        """Idempotent; "not modified" is ACCEPTED. Spot: ACCEPTED without a call."""

    async def check(self, keys: Credential) -> tuple[str, ...]:
        """Why `live` is refused: withdraw right, hedge mode, missing permissions. Empty: allowed."""
