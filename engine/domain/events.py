"""Events of `follower.events.v1`: what was decided and what came of it. The event store's schema.

Every event has an originator (a follower, or the shard itself as `shard-N`), a version that counts per originator from 1, and an
explicit topic with its schema version (`CopyDecided.v1`), which is the JSON tag `t`. A changed event gets a new tag and an upcaster.
"""

from __future__ import annotations

from engine.domain.events_follower import (
    AccountRecorded,
    CopyDecided,
    CopySkipped,
    Cut,
    DriftDetected,
    DriftSuspected,
    DustRecorded,
    EquityRecorded,
    Event,
    FollowerConfigured,
    FundingRecorded,
    LotAdjustment,
    LotExit,
    OpenDropped,
    OrderEnded,
    OrdersRequested,
    Sizing,
    WhaleFollowed,
    WhaleUnfollowed,
)
from engine.domain.events_shard import (
    CopiesSkipped,
    ExecutorChanged,
    GateSet,
    LogicVersionSet,
    MarksRecorded,
    RoundCommitted,
    RulesRecorded,
    ShardClaimed,
    SignalAdmitted,
    SignalDecided,
    SignalExpired,
    SignalReleased,
    SwitchSet,
    WhaleGapDetected,
    WhaleResynced,
)

__all__ = [
    "AccountRecorded",
    "AnyEvent",
    "CopiesSkipped",
    "CopyDecided",
    "CopySkipped",
    "Cut",
    "DriftDetected",
    "DriftSuspected",
    "DustRecorded",
    "EquityRecorded",
    "Event",
    "ExecutorChanged",
    "FollowerConfigured",
    "FollowerEvent",
    "FundingRecorded",
    "GateSet",
    "LogicVersionSet",
    "LotAdjustment",
    "LotExit",
    "MarksRecorded",
    "OpenDropped",
    "OrderEnded",
    "OrdersRequested",
    "RoundCommitted",
    "RulesRecorded",
    "ShardClaimed",
    "ShardEvent",
    "SignalAdmitted",
    "SignalDecided",
    "SignalExpired",
    "SignalReleased",
    "Sizing",
    "SwitchSet",
    "WhaleFollowed",
    "WhaleGapDetected",
    "WhaleResynced",
    "WhaleUnfollowed",
]

FollowerEvent = (
    FollowerConfigured
    | WhaleFollowed
    | WhaleUnfollowed
    | CopyDecided
    | CopySkipped
    | OrdersRequested
    | OpenDropped
    | OrderEnded
    | EquityRecorded
    | FundingRecorded
    | DriftSuspected
    | DriftDetected
    | DustRecorded
    | AccountRecorded
)
ShardEvent = (
    SignalAdmitted
    | SignalReleased
    | SignalDecided
    | SignalExpired
    | CopiesSkipped
    | SwitchSet
    | GateSet
    | RulesRecorded
    | MarksRecorded
    | WhaleGapDetected
    | WhaleResynced
    | ExecutorChanged
    | LogicVersionSet
)
AnyEvent = FollowerEvent | ShardEvent
