"""The answer to an exit: which part of a lot leaves, what of it can be ordered now, and what stays due."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from tests.oracle.book import NOTHING, Book, Key, Lot
from tests.oracle.venue import Venues, market_of

Json = dict[str, Any]


class Leave(NamedTuple):
    """What an exit of one lot comes to."""

    key: Key
    wanted: Fraction
    ordered: Fraction
    due: Fraction


def share_given_up(signal: Json) -> Fraction:
    """Which part of its position the whale left."""
    if signal["action"] in ("close", "flip"):
        return Fraction(1)
    before, after = abs(Fraction(signal["position_before"])), abs(Fraction(signal["position_after"]))
    return max(NOTHING, min(Fraction(1), 1 - after / before)) if before else NOTHING


def concerned(book: Book, signal: Json) -> list[Key]:
    """The follower's lots that the whale's exit is about: at every venue."""
    direction = "short" if signal["side"] == "buy" else "long"
    return [
        key
        for key in book.lots
        if key.whale == signal["whale_id"] and key.direction == direction and key[:2] == market_of(signal["symbol"], key.venue)[:2]
    ]


def lay_out(book: Book, venues: Venues, key: Key, share: Fraction, price: Fraction) -> Leave:
    """An exit of a share of what is held and not leaving yet; a share of nothing asks for what is due only."""
    lot, market = book.lots[key], key[:2]
    free = lot.held - book.leaving(key)
    wanted = free if share == 1 else max(NOTHING, (free - lot.due) * share + lot.due)
    ordered = venues.steps(market, wanted)
    if ordered < venues.smallest(market, price, closing=True) or not ordered:
        return Leave(key, wanted, NOTHING, wanted)
    return Leave(key, wanted, ordered, wanted - ordered if wanted == free else NOTHING)


def called_off(book: Book, key: Key, share: Fraction) -> set[str]:
    """The opens that need not be sent any more: when everything leaves, all that were not called off before."""
    return {number for number, order in book.opens.items() if share == 1 and order.key == key and order.leaves != 1}


def leave_too(book: Book, key: Key, share: Fraction) -> None:
    """What opens still bring leaves in the same share when they end."""
    for number, order in book.opens.items():
        if order.key == key:
            book.opens[number] = order._replace(leaves=1 - (1 - order.leaves) * (1 - share))


def is_dust(book: Book, venues: Venues, key: Key, price: Fraction) -> bool:
    """All that is left of a lot should leave, nothing is under way, and the venue would not take it."""
    lot = book.lots.get(key)
    if lot is None or not lot.due or lot.due != lot.held or book.pending(key) or book.leaving(key):
        return False
    return venues.steps(key[:2], lot.due) < venues.smallest(key[:2], price, closing=True)


def worth(venues: Venues, key: Key, lot: Lot, now: int) -> Fraction:
    """What a unit of a lot is worth: the venue's price, else what it cost."""
    mark = venues.price(key[:2], now)
    return mark if mark is not None else (lot.cost / lot.held if lot.held else NOTHING)
