"""Where the executor's records about an order lie: the newest of each kind, and what a replaced executor wrote does not count."""

from __future__ import annotations

import msgspec

from engine.domain.messages import EquityReported, ExecutorClaimed, OrderAttempted, OrderSettled, OrderUnknown
from engine.log.executions import Places, Scan
from tests.logbook import order

ORDER = order("f", "s-1")
KEY = ORDER.command_id


def attempted(epoch: int, attempt: int = 1) -> OrderAttempted:
    return OrderAttempted(epoch=epoch, seq=1, attempt=attempt, sent_at=1, recv_window_ms=5000, order=ORDER)


def unknown(epoch: int) -> OrderUnknown:
    return OrderUnknown(epoch=epoch, seq=1, command_id=KEY, follower_id="f", attempt=1, reason="timeout", at=2)


def settled(epoch: int, command_id: str = KEY) -> OrderSettled:
    return OrderSettled(epoch=epoch, seq=1, command_id=command_id, follower_id="f", status="filled", settled_at=3)


def scanned(*records: msgspec.Struct | bytes) -> Scan:
    """A log of these, from offset 10 on."""
    scan = Scan([KEY])
    for offset, record in enumerate(records, 10):
        scan.feed(offset, record if isinstance(record, bytes) else msgspec.json.encode(record))
    return scan


def test_the_newest_of_each_kind_counts() -> None:
    equity = EquityReported(epoch=3, follower_id="f", venue="bybit", equity=1, available=1, at=6)  # type: ignore[arg-type]
    scan = scanned(attempted(3), equity, unknown(3), attempted(3, 2), settled(3, "c" * 32))
    assert scan.found == {KEY: Places(13, 12, None)} and not scan.done
    scan = scanned(attempted(3), settled(3), settled(3))
    assert scan.found == {KEY: Places(10, None, 12)} and scan.done


def test_what_an_executor_wrote_after_its_successor_is_void() -> None:
    scan = scanned(attempted(3), ExecutorClaimed(owner="b", at=1), attempted(3), settled(3))
    assert scan.found == {KEY: Places(10, None, None)} and not scan.done
    scan = scanned(ExecutorClaimed(owner="b", at=1), settled(10))
    assert scan.found == {KEY: Places(None, None, 11)}


def test_what_cannot_be_read_is_nobodys() -> None:
    scan = scanned(b"", b"[]", b'{"t":"OrderSettled","epoch":"x"}', b'{"t":"Newer","epoch":3,"command_id":"%b"}' % KEY.encode(), settled(3))
    assert scan.found == {KEY: Places(None, None, 14)}
