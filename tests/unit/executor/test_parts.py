"""Parts of the executor that need nothing around them: watermark, budgets, breaker, switches, history, master key."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import msgspec
import pytest
from pydantic import SecretStr

from engine.config import Settings
from engine.domain.messages import Execution, ExecutorClaimed, OrderAttempted, OrderSettled, PlaceOrder, SetGate, SetSwitch
from engine.errors import ConfigInvalid, LogCorrupt
from engine.executor.accounts.sealing import VaultSealed, load_master_key, new_master_key, owner_data, parse_master_key, seal, unseal
from engine.executor.breaker import FAILURES_TO_OPEN, Breaker
from engine.executor.history import History
from engine.executor.seqs import Hint as ResumeHint
from engine.executor.seqs import SeqGap, Seqs
from engine.executor.switches import Switches


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def order(**fields: object) -> PlaceOrder:
    """An open; fields override."""
    values: dict[str, object] = {
        "command_id": "c" * 32,
        "follower_id": "f",
        "venue": "binance",
        "symbol": "BTC/USDT",
        "side": "buy",
        "quantity": Decimal(1),
        "kind": "open",
        "cause": "s",
        "whale_id": "w",
    }
    return PlaceOrder(**(values | fields))  # type: ignore[arg-type]


# --- watermark


def test_the_watermark_waits_for_the_oldest() -> None:
    seqs = Seqs(None, set(), set())
    assert seqs.resume(0, 0, 5) is None
    assert [seqs.read(seq, 100 + seq, 200 + seq, 5) for seq in (1, 2, 3)] == [True, True, True]
    assert seqs.read(2, 110, 0, 5) is False, "a repeat"
    seqs.end(2)
    seqs.end(3)
    assert seqs.resume(104, 300, 5) == (101, ResumeHint(0, 201, 5))
    seqs.end(1)
    assert (seqs.watermark, seqs.seen) == (3, 3)
    assert seqs.resume(104, 300, 5) == (104, ResumeHint(3, 300, 5))
    with pytest.raises(SeqGap):
        seqs.read(5, 0, 0, 5)


def test_a_new_owner_starts_where_the_hint_says() -> None:
    seqs = Seqs(ResumeHint(10, 50, 7), ended={12}, attempted={11})
    assert seqs.has_ended(10) and seqs.has_ended(12) and not seqs.has_ended(11)
    assert not seqs.read(10, 1, 900, 9)
    assert seqs.read(11, 2, 900, 9)
    assert seqs.read(12, 3, 901, 9)
    assert seqs.resume(4, 950, 9) == (2, ResumeHint(10, 50, 7)), "what a former owner wrote about it is still needed"
    assert seqs.read(13, 4, 902, 9)
    seqs.end(11)
    assert seqs.watermark == 12
    assert seqs.resume(5, 950, 9) == (4, ResumeHint(12, 902, 9))


def test_without_a_hint_the_first_command_there_is_counts() -> None:
    seqs = Seqs(None, ended={41}, attempted=set())
    assert seqs.read(41, 0, 0, 1)
    assert seqs.watermark == 41


# --- history


def _fold(history: History, *records: Execution) -> History:
    for offset, record in enumerate(records):
        history.fold(offset, msgspec.json.encode(record))
    return history


def _attempt(epoch: int, seq: int, number: int = 1, sent_at: int = 1000) -> OrderAttempted:
    return OrderAttempted(epoch=epoch, seq=seq, attempt=number, sent_at=sent_at, recv_window_ms=5000, order=order())


def _settled(epoch: int, seq: int) -> OrderSettled:
    return OrderSettled(epoch=epoch, seq=seq, command_id="c", follower_id="f", status="filled", settled_at=1)


def test_records_of_an_epoch_that_is_over_are_void() -> None:
    claim = ExecutorClaimed(owner="x", at=0)
    history = _fold(History(), claim, _attempt(0, 1), claim, _settled(0, 1), _attempt(2, 2), _settled(2, 2))
    assert history.ended == {2}
    assert set(history.open) == {1}, "the outcome of a fenced-out owner does not count"


def test_attempts_keep_the_first_time_and_the_last_fence() -> None:
    history = _fold(History(), ExecutorClaimed(owner="x", at=0), _attempt(0, 1, 1, 1000), _attempt(0, 1, 2, 9000))
    found = history.open[1]
    assert (found.attempts, found.since, found.not_after) == (2, 1000, 14000)


def test_an_unreadable_execution_is_corruption() -> None:
    with pytest.raises(LogCorrupt):
        History().fold(3, b"{")


# --- breaker


def test_the_breaker_lets_one_exit_probe() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        assert breaker.delay(is_exit=False) == 0
        breaker.failed()
    assert breaker.is_open and breaker.delay(is_exit=True) > 0
    clock.now += 0.6
    assert breaker.delay(is_exit=True) == 0 and breaker.delay(is_exit=False) > 0, "exits probe first"
    breaker.started()
    assert breaker.delay(is_exit=True) > 0, "one probe at a time"
    breaker.failed()
    clock.now += 0.6
    assert breaker.delay(is_exit=True) > 0, "a failed probe doubles the wait"
    clock.now += 10
    assert breaker.delay(is_exit=False) == 0, "an open probes when no exit comes"
    breaker.started()
    breaker.abandoned()
    assert breaker.delay(is_exit=False) == 0
    breaker.succeeded()
    assert not breaker.is_open and breaker.delay(is_exit=False) == 0


# --- switches


def test_the_strictest_switch_counts() -> None:
    switches, requests = Switches(), count()
    assert switches.refusal(order()) == ""

    def put(**fields: object) -> None:
        switches.fold(msgspec.json.encode(SetSwitch(request_id=str(next(requests)), **fields)))  # type: ignore[arg-type]

    put(scope="whale", target="w", state="close_only")
    assert switches.refusal(order()) == "close_only"
    assert switches.refusal(order(kind="exit")) == ""
    put(scope="exchange", target="binance", state="halt")
    assert switches.refusal(order()) == "kill_switch"
    assert switches.refusal(order(venue="bybit", whale_id="other")) == ""
    put(scope="global", state="halt_exits")
    assert switches.refusal(order(kind="exit", venue="bybit")) == "kill_switch"
    for scope, target in (("global", ""), ("exchange", "binance"), ("whale", "w")):
        put(scope=scope, target=target, state="running")
    assert switches.refusal(order()) == ""
    before = switches.changed
    switches.fold(msgspec.json.encode(SetGate(request_id="g", paused=True)))
    switches.fold(b"not json")
    assert switches.changed == before


# --- sealing

A, B = parse_master_key(SecretStr("00" * 32)), parse_master_key(SecretStr("01" * 32))


def test_a_credential_opens_only_for_its_owner_and_key() -> None:
    whose = owner_data("f", "binance", 1, "live")
    stored = seal(A, whose, SecretStr("key"), SecretStr("secret"))
    assert [value.get_secret_value() for value in unseal(A, whose, stored)[:2]] == ["key", "secret"]
    assert b"secret" not in stored.sealed + stored.wrapped_key
    for master, owner in (
        (B, whose),
        (A, owner_data("f", "binance", 1, "paper")),
        (A, owner_data("f", "binance", 1, "")),
        (A, owner_data("g", "binance", 1, "live")),
        (A, owner_data("f", "bybit", 1, "live")),
        (A, owner_data("f", "binance", 2, "live")),
    ):
        with pytest.raises(VaultSealed):
            unseal(master, owner, stored)


def test_master_keys(tmp_path: object) -> None:
    text = new_master_key()
    assert parse_master_key(text).fingerprint == parse_master_key(SecretStr(f" {text.get_secret_value()}\n")).fingerprint
    assert text.get_secret_value() not in repr(parse_master_key(text))
    for wrong in ("", "xx", "a" * 63, "!" * 44):
        with pytest.raises(ConfigInvalid):
            parse_master_key(SecretStr(wrong))
    with pytest.raises(ConfigInvalid, match="REMORA_MASTER_KEY"):
        load_master_key(Settings(master_key=None, master_key_file=None))


def test_a_master_key_from_a_file(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "key"
    with pytest.raises(ConfigInvalid, match="file"):
        load_master_key(Settings(master_key=None, master_key_file=file))
    file.write_text("00" * 32 + "\n")
    assert load_master_key(Settings(master_key=None, master_key_file=file)).fingerprint == A.fingerprint
