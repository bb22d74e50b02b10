"""What an executor reports of accounts and markets; a part of `engine.domain.messages`."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.domain.requests import Record
from engine.domain.values import MarketRules, Mode, Side, Venue, VenuePosition


class EquityReported(Record, frozen=True, kw_only=True, tag="EquityReported"):
    """Account equity in quote: wallet + unrealised, as of `at` (the executor's clock when it asked).

    `mode`, here and in the other reports: whose orders the account takes, paper or live; None where one account takes all.
    """

    epoch: int
    follower_id: str
    venue: Venue
    equity: Decimal
    available: Decimal
    at: int
    mode: Mode | None = None


class PositionsReported(Record, frozen=True, kw_only=True, tag="PositionsReported"):
    """All of the account's positions (spot: base balances of mapped coins) as of `at`; `in_flight` orders of the account were open then."""

    epoch: int
    follower_id: str
    venue: Venue
    positions: tuple[VenuePosition, ...]
    in_flight: int
    at: int
    mode: Mode | None = None


class OpenOrder(msgspec.Struct, frozen=True):
    """One order that rests at a venue, whoever placed it; `market` is the venue's own id (BTCUSDT), mapped or not."""

    market: str
    client_order_id: str
    exchange_order_id: str
    side: Side
    quantity: Decimal
    filled: Decimal


class OpenOrdersReported(Record, frozen=True, kw_only=True, tag="OpenOrdersReported"):
    """All of the account's open orders as of `at`. Ours never rest for long: what stays was placed by hand or by another program."""

    epoch: int
    follower_id: str
    venue: Venue
    orders: tuple[OpenOrder, ...]
    at: int
    mode: Mode | None = None


class FundingReported(Record, frozen=True, kw_only=True, tag="FundingReported"):
    """A funding payment of a perpetual position: `amount` is added to the account (negative: paid)."""

    epoch: int
    follower_id: str
    venue: Venue
    symbol: str
    funding_id: str
    amount: Decimal
    at: int
    mode: Mode | None = None


class AccountChecked(Record, frozen=True, kw_only=True, tag="AccountChecked"):
    """Result of the check of an account's keys and modes; `reasons` says why `live` is refused."""

    epoch: int
    follower_id: str
    venue: Venue
    allowed: bool
    reasons: tuple[str, ...] = ()
    at: int
    mode: Mode | None = None


class RulesReported(Record, frozen=True, kw_only=True, tag="RulesReported"):
    """Market rules of a venue, on change."""

    venue: Venue
    rules: tuple[MarketRules, ...]
    at: int


class MarksReported(Record, frozen=True, kw_only=True, tag="MarksReported"):
    """Newest prices of a venue by venue symbol."""

    venue: Venue
    marks: dict[str, Decimal]
    at: int
