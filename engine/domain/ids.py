"""Deterministic ids: the same cause gives the same id on every machine and in every replay."""

from __future__ import annotations

from hashlib import blake2b


def command_id(base: str, follower_id: str, leg: int = 0) -> str:
    """32 lowercase hex characters from (base, follower, leg); also the exchange's client order id. Every base is used for one lot once."""
    return blake2b(f"{base}\x1f{follower_id}\x1f{leg}".encode(), digest_size=16).hexdigest()


def signal_name(source: str, whale_id: str, signal_id: str) -> str:
    """What tells a signal from every other: another whale or source may use the same id. Also what the ids of its orders are made of."""
    return f"{source}|{len(whale_id)}|{whale_id}|{signal_id}"


def shard_originator(shard: int) -> str:
    """Originator id of the shard's own events."""
    return f"shard-{shard}"


def in_rollout(follower_id: str, whale_id: str, percent: int) -> bool:
    """Whether a follow is among the first `percent` of a hundred equal parts of all follows."""
    digest = blake2b(f"{follower_id}|{whale_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 100 < percent
