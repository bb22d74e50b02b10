"""Recorded fills and the signals that were published from them: which fill belongs to which signal, and what a signal must say."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Owner = tuple[str, str, int]
"""Whale, order, millisecond: the fills of one are one signal."""


def read_fills(path: Path) -> list[Json]:
    """Every fill with its whale, as recorded, repeats included."""
    body = path.read_bytes()
    recording = json.loads(gzip.decompress(body) if path.suffix == ".gz" else body)
    return [fill | {"whale": query["slot"]} for query in recording["queries"] for fill in query["fills"]]


def unaccounted(fills: Iterable[Json], signals: Iterable[Json]) -> list[str]:
    """What is wrong with the signals as an account of the fills: each fill in exactly one signal, each signal the sum of its fills."""
    groups: dict[Owner, dict[Any, Json]] = defaultdict(dict)
    for fill in fills:
        groups[fill["whale"], str(fill["oid"]), fill["time"]][fill["tid"]] = fill
    wrong: list[str] = []
    for signal in signals:
        owner = (signal["whale_id"], signal["whale_order_id"], _milliseconds(signal["whale_time"]))
        mine = groups.pop(owner, None)
        wrong += [f"signal {signal['signal_id']}: {problem}" for problem in _compare(signal, list((mine or {}).values()))]
    return wrong + [f"no signal has the {len(left)} fills of {owner}" for owner, left in groups.items()]


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _compare(signal: Json, fills: list[Json]) -> Iterable[str]:
    if not fills:
        yield "no fill belongs to it, or another signal has them"
        return
    coins = {str(fill["coin"]).replace(":", "-").upper() for fill in fills}
    if coins != {signal["symbol"].split("/")[0]}:
        yield f"it is about {signal['symbol']}, its fills about {coins}"
    quantity = sum(Fraction(fill["sz"]) for fill in fills)
    if quantity != Fraction(signal["quantity"]):
        yield f"its fills sum up to {quantity}"
    paid = sum(Fraction(fill["sz"]) * Fraction(fill["px"]) for fill in fills)
    if abs(Fraction(signal["price"]) * quantity - paid) > paid / 1_000_000:
        yield f"its fills cost {float(paid / quantity)} on average"
    moved = Fraction(signal["position_after"]) - Fraction(signal["position_before"])
    if moved != sum(Fraction(fill["sz"]) * (1 if fill["side"] == "B" else -1) for fill in fills):
        yield f"it moves the position by {moved}"
    yield from _ends(signal, fills)


def _ends(signal: Json, fills: list[Json]) -> Iterable[str]:
    """What the fills say of the positions before and after, as far as they stand alone in their millisecond."""
    starts = {Fraction(fill["startPosition"]) for fill in fills}
    if len(fills) == 1 and Fraction(signal["position_before"]) not in starts:
        yield f"it begins at {signal['position_before']}, its fill at {fills[0]['startPosition']}"
    before, after = Fraction(signal["position_before"]), Fraction(signal["position_after"])
    if signal["action"] != _action(before, after):
        yield f"{signal['action']} does not lead from {before} to {after}"


def _action(before: Fraction, after: Fraction) -> str:
    if not before:
        return "open"
    if not after:
        return "close"
    if before * after < 0:
        return "flip"
    return "increase" if abs(after) > abs(before) else "reduce"
