"""The made-up market: the same for a seed, valid, coherent, and with something of everything in it."""

from __future__ import annotations

import json
from decimal import Decimal

from engine.contracts.files import check_item
from engine.domain.symbols import lookup
from ops.seeded import seeded_signals


def test_same_seed_same_signals() -> None:
    assert list(seeded_signals(7, 50)) == list(seeded_signals(7, 50))
    assert list(seeded_signals(7, 50)) != list(seeded_signals(8, 50))


def test_valid_coherent_and_complete() -> None:
    signals = list(seeded_signals(3, 300))
    position: dict[tuple[str, str], Decimal | None] = {}
    for signal in signals:
        assert check_item(json.loads(signal.to_json())) == signal
        key = (signal.whale_id, signal.symbol)
        assert position.get(key, Decimal(0)) == signal.position_before
        position[key] = signal.position_after
    assert {signal.action for signal in signals} == {"open", "increase", "reduce", "close", "flip"}
    assert {signal.whale_id for signal in signals if signal.trade_type == "spot"} == {"cetus"}
    assert len({signal.whale_id for signal in signals}) == 3
    assert len({signal.whale_order_id for signal in signals}) < len(signals)


def test_every_market_is_mapped() -> None:
    for symbol in {signal.symbol for signal in seeded_signals(1, 300)}:
        assert lookup(symbol, "binance") is not None, symbol
