"""Given a state, when it is dumped in chunks and restored, then it is the same state, and goes on deciding the same."""

from __future__ import annotations

import msgspec
import pytest

from engine.domain.events import CopyDecided
from engine.domain.messages import SetGate, SetSwitch
from engine.domain.shard import decide, dump_state, new_state, restore_state, state_digest
from engine.domain.values import FollowerSettings
from tests.given import ENCODER, ETH, Shard, d, of

LARGEST = 512 * 1024


def busy(followers: int) -> Shard:
    """Followers with lots, pending orders, carried sizes, flips that wait, and a held signal."""
    shard = Shard()
    for number in range(followers):
        settings = FollowerSettings(preferred_exchange="binanceusdm", max_leverage=d(number % 7 + 1))
        shard.follower(f"f{number}", settings=settings, min_size_policy="accumulate", trade_size_usdt=d(number % 5 + 3))
    shard.signal("open", "buy", whale_order_id="o1")
    for number in range(0, followers, 3):
        shard.settle_all(f"f{number}")
    shard.signal("flip", "sell", 2)
    shard.mark(999)
    shard.send(SetGate(request_id="g", paused=True), source="c")
    shard.signal("open", "buy", symbol=ETH)
    return shard


def test_a_large_state_is_many_small_chunks() -> None:
    shard = busy(1500)
    chunks = list(dump_state(shard.state))
    assert len(chunks) > 3 and max(map(len, chunks)) < LARGEST
    restored = restore_state(chunks)
    assert state_digest(restored) == state_digest(shard.state)
    assert [command.seq for command in restored.outbox] == [command.seq for command in shard.state.outbox]


def test_what_is_too_large_for_a_chunk_is_cut() -> None:
    """A chunk over the limit would end the engine at every snapshot: many whales with long lists of symbols, many switches."""
    shard = Shard()
    symbols = tuple(f"COIN{number:04d}/USDC:USDC" for number in range(500))
    for number in range(600):
        shard.follower(f"f{number % 30}", f"w{number // 30}", symbols_allowed=symbols)
        shard.follower("many", f"w{number}", symbols_denied=symbols[number % 5 :])
    for number in range(12_000):
        shard.send(SetSwitch(request_id=shard.request_id(), scope="follower", target=f"{number:040d}", state="halt"), source="c")
    chunks = list(dump_state(shard.state))
    assert max(map(len, chunks)) <= LARGEST
    restored = restore_state(chunks)
    assert state_digest(restored) == state_digest(shard.state)
    assert len(restored.switches) == 12_000


def test_a_restored_state_decides_the_same_bytes() -> None:
    shard = busy(30)
    restored = restore_state(dump_state(shard.state))
    before = len(shard.records)
    shard.send(SetGate(request_id="open", paused=False), source="c")
    for number in range(30):
        shard.settle_all(f"f{number}")
    shard.signal("close", "buy", 1)
    shard.tick(61_000)
    told = [ENCODER.encode(event) for record, now in shard.records[before:] for event in decide(restored, record, now)]
    assert told == [ENCODER.encode(event) for event in shard.events[-len(told) :]] and len(told) > 60
    assert state_digest(restored) == state_digest(shard.state)


def test_equal_numbers_that_are_written_differently_stay_apart() -> None:
    shard = Shard()
    shard.follower("f1", trade_size_usdt=d("100.0"))
    shard.follower("f2", trade_size_usdt=d("100"))
    written = [str(event.sizing.wanted_quote) for event in of(CopyDecided, shard.signal("open", "buy"))]
    assert written == ["100.0", "100"]
    shard.check()


def test_digests_tell_states_apart() -> None:
    assert state_digest(new_state(0, 2)) != state_digest(new_state(1, 2))
    shard = busy(3)
    before = state_digest(shard.state)
    shard.tick()
    assert state_digest(shard.state) != before, "time is state"


def test_a_chunk_that_is_none_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        restore_state([b"\x93\x00"])
