"""The detector adapter: recorded Hyperliquid fills enter, whale signals leave, in the pace of the recording or faster.

A file is `{queries: [{slot, fills: [...]}]}` (or a bare list of fills), plain or gzip. A whale is a slot. Fills of one order in one
millisecond are one signal; repeated fills are one fill; where fills are missing, the chain of positions breaks and the engine sees it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

from engine.contracts.signal import WhaleSignal
from engine.contracts.types import from_ms
from engine.errors import ConfigInvalid

SPOT_DIRS: Final = frozenset({"Buy", "Sell", "Spot Dust Conversion"})
GZIP_MAGIC: Final = b"\x1f\x8b"
EXTRA_PRICE_DIGITS: Final = 4
MAX_ID_CHARS: Final = 64


@dataclass(frozen=True)
class Fill:
    """One recorded fill. `before` and `after` are the whale's signed position around it, net of a fee taken in the base coin."""

    whale: str
    coin: str
    order: str
    time_ms: int
    buys: bool
    spot: bool
    quantity: Decimal
    price: Decimal
    before: Decimal
    after: Decimal


def signals_from_fills(path: Path) -> list[WhaleSignal]:
    """The file's signals ordered by time over all whales; `detected_at` is the fill's time until the player sets it."""
    whales: dict[str, list[dict[str, Any]]] = {}
    for whale, fills in _recordings(path):
        whales.setdefault(whale, []).extend(fills)
    try:
        signals = [signal for whale, raw in whales.items() for signal in _signals_of_whale(whale, raw)]
    except (KeyError, TypeError, ArithmeticError, ValueError) as error:
        raise ConfigInvalid(f"{path}: not a recording of fills ({type(error).__name__}: {error}).") from error
    return sorted(signals, key=lambda signal: signal.detected_at)


def _recordings(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    try:
        body = path.read_bytes()
        data = json.loads(gzip.decompress(body) if body.startswith(GZIP_MAGIC) else body)
        queries = [{"fills": data}] if isinstance(data, list) else data.get("queries") or [data]
        for query in queries:
            yield _whale_of(query, path), _oldest_first(query["fills"])
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigInvalid(f"{path}: not a recording of fills ({type(error).__name__}: {error}).") from error


def _whale_of(query: dict[str, Any], path: Path) -> str:
    name = query.get("slot") or "+".join(query.get("slots", ())) or query.get("user") or path.name.split(".")[0]
    return str(name)[:MAX_ID_CHARS]


def _oldest_first(fills: list[dict[str, Any]]) -> list[dict[str, Any]]:
    newest_first = bool(fills) and fills[0]["time"] > fills[-1]["time"]
    return fills[::-1] if newest_first else fills


def _signals_of_whale(whale: str, raw: list[dict[str, Any]]) -> Iterator[WhaleSignal]:
    unique: dict[tuple[Any, ...], dict[str, Any]] = {}
    for fill in raw:
        unique.setdefault(_identity(fill), fill)
    fills = sorted((_fill(whale, fill) for fill in unique.values()), key=lambda fill: fill.time_ms)
    for _, at_once in groupby(fills, key=lambda fill: fill.time_ms):
        moment = list(at_once)
        for coin in dict.fromkeys(fill.coin for fill in moment):
            yield from _signals_of_moment(_chained([fill for fill in moment if fill.coin == coin]))


def _identity(fill: dict[str, Any]) -> tuple[Any, ...]:
    """A trade has one `tid` for both sides; with the order it names this side's fill."""
    if fill.get("tid") is not None:
        return (fill["oid"], fill["tid"])
    return tuple(fill[name] for name in ("oid", "time", "coin", "side", "px", "sz", "startPosition"))


def _fill(whale: str, raw: dict[str, Any]) -> Fill:
    coin, buys, quantity = str(raw["coin"]), raw["side"] == "B", Decimal(raw["sz"])
    spot = raw.get("dir") in SPOT_DIRS or "/" in coin or coin.startswith("@")
    before = Decimal(raw["startPosition"])
    in_base = spot and buys and raw.get("feeToken") not in (None, _quote(coin))
    change = (quantity if buys else -quantity) - (Decimal(raw["fee"]) if in_base else 0)
    if spot:
        before = max(before, Decimal(0))
        change = max(change, -before)
    return Fill(whale, coin, str(raw["oid"]), int(raw["time"]), buys, spot, quantity, Decimal(raw["px"]), before, before + change)


def _quote(coin: str) -> str:
    return coin.split("/")[1] if "/" in coin else "USDC"


def _chained(fills: list[Fill]) -> list[Fill]:
    """Fills of one coin in one millisecond, each beginning where the one before ended, if they can be put in such an order."""
    if all(one.after == other.before for one, other in pairwise(fills)):
        return fills
    by_start = {fill.before: fill for fill in fills}
    ends = {fill.after for fill in fills}
    first = [fill for fill in fills if fill.before not in ends]
    chain = first[:1]
    while chain and chain[-1].after in by_start and len(chain) < len(fills):
        chain.append(by_start[chain[-1].after])
    return chain if len(set(chain)) == len(fills) else fills


def _signals_of_moment(fills: list[Fill]) -> Iterator[WhaleSignal]:
    orders = [[fill for fill in fills if fill.order == order] for order in dict.fromkeys(fill.order for fill in fills)]
    if len(list(groupby(fills, key=lambda fill: fill.order))) == len(orders):
        yield from (_signal(order, order[0].before, order[-1].after) for order in orders)
        return
    # Fills of two orders alternate: one after the other, the orders lead to the same end.
    position = fills[0].before
    for order in orders:
        before, position = position, position + sum((fill.after - fill.before for fill in order), Decimal(0))
        yield _signal(order, before, position)


def _signal(fills: list[Fill], before: Decimal, after: Decimal) -> WhaleSignal:
    first = fills[0]
    time = from_ms(first.time_ms)
    return WhaleSignal(
        signal_id=_signal_id(first),
        whale_id=first.whale,
        source="exchange",
        symbol=_symbol(first),
        trade_type="spot" if first.spot else "futures",
        action=action_of(before, after),
        side="buy" if first.buys else "sell",
        whale_order_id=first.order,
        quantity=_plain(sum((fill.quantity for fill in fills), Decimal(0))),
        price=_average_price(fills),
        position_before=_plain(before),
        position_after=_plain(after),
        detected_at=time,
        whale_time=time,
    )


def _signal_id(fill: Fill) -> str:
    name = f"{fill.whale}-{fill.order}-{fill.time_ms}"
    return name if len(name) <= MAX_ID_CHARS else blake2b(name.encode(), digest_size=16).hexdigest()


def _symbol(fill: Fill) -> str:
    if fill.spot:
        return fill.coin if "/" in fill.coin else f"{fill.coin}/USDC"
    return f"{fill.coin.replace(':', '-').upper()}/USDC:USDC"


def action_of(before: Decimal, after: Decimal) -> Any:
    """What leads from one signed position to another: open, increase, reduce, close or flip."""
    if before == 0:
        return "open"
    if after == 0:
        return "close"
    if before * after < 0:
        return "flip"
    return "increase" if abs(after) > abs(before) else "reduce"


def _average_price(fills: Iterable[Fill]) -> Decimal:
    prices = {fill.price for fill in fills}
    if len(prices) == 1:
        return _plain(prices.pop())
    quantity = sum((fill.quantity for fill in fills), Decimal(0))
    notional = sum((fill.quantity * fill.price for fill in fills), Decimal(0))
    digits = max(-_exponent(price) for price in prices) + EXTRA_PRICE_DIGITS
    return _plain((notional / quantity).quantize(Decimal(1).scaleb(-min(digits, 18))))


def _exponent(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "a finite amount"
    return min(exponent, 0)


def _plain(amount: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent."""
    return Decimal(format(amount.normalize(), "f"))
