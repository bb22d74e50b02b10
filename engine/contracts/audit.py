"""Audit records of `engine.control.v1`: writes that are no command of the log themselves, said on the log before they are done.

Such writes change Postgres (keys, the vault) or another topic (signals by hand, a redrive, an import). Each record names who asked and
for what, never a secret and never a hash. It concerns no shard and no order: whoever folds the topic passes it by.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, StringConstraints, TypeAdapter

from engine.contracts.types import TEXT_PATTERN, Contract, Id, Note, PositiveAmount, Symbol, Timestamp, Venue

KEY_ID_PATTERN: Final = "^[0-9a-f]{12}$"
KeyId = Annotated[str, StringConstraints(pattern=KEY_ID_PATTERN)]
KeyName = Annotated[str, StringConstraints(max_length=500, pattern=TEXT_PATTERN)]
TopicName = Annotated[str, StringConstraints(min_length=1, max_length=249, pattern=TEXT_PATTERN)]
Many = Annotated[int, Field(ge=0, le=10**12)]


class _Audit(Contract):
    request_id: Annotated[Id, Field(description="Of the write; a signal by hand has it as its signal_id.")]
    actor: Note = ""


class PublishSignal(_Audit):
    """A signal by hand, through the API or the dashboard."""

    t: Literal["PublishSignal"]
    signal_id: Id
    whale_id: Id
    symbol: Symbol
    action: Literal["open", "increase", "reduce", "close", "flip"]
    side: Literal["buy", "sell"]
    quantity: PositiveAmount
    price: PositiveAmount


class PublishSignals(_Audit):
    """The signals of a file, by an operator."""

    t: Literal["PublishSignals"]
    signals: Many
    first_signal_id: Id
    last_signal_id: Id


class RunDetector(_Audit):
    """A detector of ours begins: it publishes signals until it ends, under a CloudEvents source of its own."""

    t: Literal["RunDetector"]
    detector: Annotated[Literal["fills", "legacy"], Field(description="A recording of fills, or the bridge to the older system.")]


class CreateKey(_Audit):
    """A new key of the API."""

    t: Literal["CreateKey"]
    key_id: KeyId
    name: KeyName
    scopes: tuple[Literal["read", "follow", "trade", "admin"], ...]
    follower_id: Annotated[Id | None, Field(description="The key sees and steers this follower only.")] = None
    expires_at: Timestamp | None = None


class RevokeKey(_Audit):
    """A key of the API stops working."""

    t: Literal["RevokeKey"]
    key_id: KeyId


class StoreCredential(_Audit):
    """The keys of an exchange account go into the vault, or replace those that are there."""

    t: Literal["StoreCredential"]
    follower_id: Id
    venue: Venue
    paper: Annotated[bool, Field(description="An account of play money, opened for this.")] = False


class RemoveCredential(_Audit):
    """The vault forgets the keys of an exchange account."""

    t: Literal["RemoveCredential"]
    follower_id: Id
    venue: Venue
    account: Annotated[Literal["live", "paper"] | None, Field(description="Which of the two; left out where there is only one.")] = None


class RotateMasterKey(_Audit):
    """The vault comes under another master key."""

    t: Literal["RotateMasterKey"]


class RedriveRecord(_Audit):
    """A record is sent again as it is, to the end of its topic."""

    t: Literal["RedriveRecord"]
    topic: TopicName
    partition: Many
    offset: Many


class ImportLegacy(_Audit):
    """What the older system knows comes over: commands of followers, under an actor of their own."""

    t: Literal["ImportLegacy"]
    commands: Many


AuditModel = (
    PublishSignal
    | PublishSignals
    | RunDetector
    | CreateKey
    | RevokeKey
    | StoreCredential
    | RemoveCredential
    | RotateMasterKey
    | RedriveRecord
    | ImportLegacy
)
AuditRecord = Annotated[AuditModel, Field(discriminator="t")]
AUDIT_RECORD: TypeAdapter[AuditModel] = TypeAdapter(AuditRecord)
AUDIT_TAGS: Final = frozenset(model.__name__ for model in get_args(AuditModel))


def is_audit(value: bytes | None) -> bool:
    """Whether a record of the control topic is for the trail only; also one that does not follow its contract."""
    try:
        found: Any = json.loads(value or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("t"), str) and found["t"] in AUDIT_TAGS
