"""Follower commands: what is refused, by field."""

from __future__ import annotations

import msgspec
import pytest

from engine.contracts.check import RawRecord, read_follower_command
from engine.domain.messages import UnfollowWhale
from engine.errors import ContractViolation
from engine.topology import shard_of


def _read(follower_id: str) -> None:
    value = msgspec.json.encode(UnfollowWhale(request_id="r1", follower_id=follower_id, whale_id="w1"))
    read_follower_command(RawRecord(value, follower_id.encode()), shard_of(follower_id, 8), 8)


def test_a_follower_may_not_be_named_like_a_shard() -> None:
    _read("sharding-fan")
    with pytest.raises(ContractViolation) as refused:
        _read("shard-1")
    assert refused.value.field == "follower_id"
