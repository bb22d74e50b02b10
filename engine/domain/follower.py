"""Followers: their commands enter, events with versions leave; their settings, follows, equity and funding are folded here."""

from __future__ import annotations

from decimal import Decimal

from engine.domain.events import (
    AccountRecorded,
    AnyEvent,
    EquityRecorded,
    FollowerConfigured,
    FundingRecorded,
    WhaleFollowed,
    WhaleUnfollowed,
)
from engine.domain.messages import AccountChecked, ConfigureFollower, EquityReported, FollowWhale, FundingReported, UnfollowWhale
from engine.domain.positions import book, note_peak
from engine.domain.state import (
    ZERO,
    Follow,
    FollowerState,
    Lot,
    ShardState,
    account_key,
    add_to_index,
    intern,
    remember,
    remove_from_index,
)
from engine.domain.values import FollowerSettings, Mode


def decide_configure(state: ShardState, command: ConfigureFollower) -> list[AnyEvent]:
    """Create a follower or replace its settings."""
    version, config_version = _next_versions(state, command.follower_id)
    return [
        FollowerConfigured(
            originator_id=command.follower_id,
            originator_version=version,
            at=state.now,
            settings=command.settings,
            config_version=config_version,
            request_id=command.request_id,
            actor=command.actor,
        )
    ]


def decide_follow(state: ShardState, command: FollowWhale) -> list[AnyEvent]:
    """Begin a follow or replace its terms. A follower who is not configured yet begins with the default settings."""
    events: list[AnyEvent] = []
    version, config_version = _next_versions(state, command.follower_id)
    if command.follower_id not in state.followers:
        events += decide_configure(
            state,
            ConfigureFollower(
                request_id=f"{command.request_id}:defaults",
                follower_id=command.follower_id,
                settings=FollowerSettings(),
                actor=command.actor,
            ),
        )
        version, config_version = version + 1, config_version + 1
    events.append(
        WhaleFollowed(
            originator_id=command.follower_id,
            originator_version=version,
            at=state.now,
            whale_id=command.whale_id,
            terms=command.terms,
            config_version=config_version,
            request_id=command.request_id,
            actor=command.actor,
        )
    )
    return events


def decide_unfollow(state: ShardState, command: UnfollowWhale) -> list[AnyEvent]:
    """End a follow; a whale that is not followed makes no event."""
    follower = state.followers.get(command.follower_id)
    follow = follower.follows.get(command.whale_id) if follower else None
    if not follower or not follow or not follow.active:
        return []
    return [
        WhaleUnfollowed(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            whale_id=command.whale_id,
            config_version=follower.config_version + 1,
            request_id=command.request_id,
            actor=command.actor,
        )
    ]


def _next_versions(state: ShardState, follower_id: str) -> tuple[int, int]:
    follower = state.followers.get(follower_id)
    return (follower.version + 1, follower.config_version + 1) if follower else (1, 1)


def _trades_with(follower: FollowerState, mode: Mode | None) -> bool:
    """Whether new copies go to the account that takes orders of `mode`. Shadow trades with none: it is measured by the live account, and by
    the paper one as long as no live one has reported."""
    own = follower.settings.mode
    return mode in (None, own) or (own == "shadow" and (mode == "live" or follower.equity_mode != "live"))


def decide_equity(state: ShardState, report: EquityReported) -> list[AnyEvent]:
    """Record an account's equity; a report older than the last one says nothing new."""
    follower = state.followers.get(report.follower_id)
    if not follower or report.venue != follower.settings.preferred_exchange or report.at < follower.equity_at:
        return []
    if not _trades_with(follower, report.mode):
        return []
    return [
        EquityRecorded(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            venue=report.venue,
            equity=report.equity,
            available=report.available,
            reported_at=min(report.at, state.now),
            mode=report.mode,
        )
    ]


def decide_account(state: ShardState, report: AccountChecked) -> list[AnyEvent]:
    """Record the result of an account's check when it differs from the last one."""
    follower = state.followers.get(report.follower_id)
    reasons = () if report.allowed else report.reasons or ("refused",)
    if not follower or reasons == follower.refused_by or not _trades_with(follower, report.mode):
        return []
    return [
        AccountRecorded(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            venue=report.venue,
            allowed=report.allowed,
            reasons=reasons,
        )
    ]


def decide_funding(state: ShardState, report: FundingReported) -> list[AnyEvent]:
    """Split a funding payment over the lots of its symbol by quantity; what concerns no lot of ours, or was seen, makes no event."""
    follower = state.followers.get(report.follower_id)
    if not follower:
        return []
    mode = report.mode or follower.settings.mode
    if report.at <= (follower.funded or {}).get(account_key(report.venue, report.symbol, mode), 0):
        return []
    lots = [lot for lot in (follower.lots or {}).values() if _concerns(lot, report, mode)]
    total = sum((lot.filled for lot in lots), ZERO)
    if not total:
        return []
    shares = {lot.whale_id: report.amount * lot.filled / total for lot in lots}
    return [
        FundingRecorded(
            originator_id=follower.follower_id,
            originator_version=follower.version + 1,
            at=state.now,
            venue=report.venue,
            venue_symbol=report.symbol,
            funding_id=report.funding_id,
            amount=report.amount,
            shares=_exact(shares, report.amount),
            reported_at=report.at,
            mode=report.mode,
        )
    ]


def _concerns(lot: Lot, report: FundingReported, mode: Mode) -> bool:
    return lot.venue == report.venue and lot.symbol == report.symbol and lot.mode == mode and bool(lot.filled)


def _exact(shares: dict[str, Decimal], amount: Decimal) -> dict[str, Decimal]:
    last = next(reversed(shares))
    shares[last] = amount - sum((share for whale_id, share in shares.items() if whale_id != last), ZERO)
    return shares


def configured(state: ShardState, event: FollowerConfigured) -> None:
    """Fold new settings; the first ones create the follower."""
    follower = state.followers.get(event.originator_id)
    settings = intern(state, event.settings)
    if follower is None:
        follower = FollowerState(follower_id=event.originator_id, number=len(state.followers) + 1, settings=settings, follows={})
        state.followers[event.originator_id] = follower
    if (follower.settings.preferred_exchange, follower.settings.mode) != (settings.preferred_exchange, settings.mode):
        follower.equity = follower.capital = follower.equity_mode = None
        follower.equity_at, follower.suspects, follower.refused_by = 0, None, ()
    follower.settings = settings
    _configuration(state, follower, event)


def followed(state: ShardState, event: WhaleFollowed) -> None:
    """Fold a follow. New terms of a running follow keep its start."""
    follower = state.followers[event.originator_id]
    terms = intern(state, event.terms)
    follow = follower.follows.get(event.whale_id)
    if follow is None:
        follow = follower.follows[event.whale_id] = Follow(terms=terms, since=state.events)
        add_to_index(state, follower, event.whale_id)
    elif not follow.active:
        follow.active, follow.since = True, state.events
        add_to_index(state, follower, event.whale_id)
    follow.terms = terms
    _configuration(state, follower, event)


def unfollowed(state: ShardState, event: WhaleUnfollowed) -> None:
    """Fold the end of a follow; while lots are left, exits still reach the follower."""
    follower = state.followers[event.originator_id]
    follow = follower.follows[event.whale_id]
    follow.active, follow.carry = False, None
    if not any(lot.whale_id == event.whale_id for lot in (follower.lots or {}).values()):
        remove_from_index(state, follower, event.whale_id)
    _configuration(state, follower, event)


def _configuration(state: ShardState, follower: FollowerState, event: FollowerConfigured | WhaleFollowed | WhaleUnfollowed) -> None:
    follower.version, follower.config_version = event.originator_version, event.config_version
    remember(state.requests, event.request_id, event.at)


def equity_recorded(state: ShardState, follower: FollowerState, event: EquityRecorded) -> None:
    """Fold equity. While nothing is open, what our own profit does not explain is a transfer: it moves the capital and its peak."""
    follower.equity, follower.available, follower.equity_at = event.equity, event.available, event.reported_at
    follower.equity_mode = event.mode
    capital = follower.capital
    if capital is None:
        capital = follower.capital = event.equity - follower.pnl
        follower.peak = event.equity
    elif not follower.lots and not follower.orders and event.reported_at > follower.last_outcome_at:
        transfer = event.equity - capital - follower.pnl
        capital = follower.capital = capital + transfer
        follower.peak += transfer
    note_peak(follower, capital)


def funding_recorded(state: ShardState, follower: FollowerState, event: FundingRecorded) -> None:
    """Fold a funding payment into the follows' profit."""
    follower.funded = follower.funded or {}
    mode = event.mode or follower.settings.mode
    follower.funded[account_key(event.venue, event.venue_symbol, mode)] = event.reported_at
    for whale_id, amount in event.shares.items():
        book(follower, whale_id, mode, state.now, amount)


def account_recorded(state: ShardState, follower: FollowerState, event: AccountRecorded) -> None:
    """Fold whether the account may trade live."""
    follower.refused_by = event.reasons
