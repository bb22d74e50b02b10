"""The engine's log held against the oracle: every answer, every order, every lot after every event."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from engine.domain.events import AnyEvent
from engine.domain.shard import evolve, new_state
from engine.domain.state import FollowerState
from ops.demo.plan import FollowerPlan
from tests.oracle.book import Key
from tests.oracle.timeline import Answer, Oracle
from tests.system import Story, as_data

DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def hold_against(story: Story, plans: Sequence[FollowerPlan]) -> tuple[list[str], dict[tuple[str, str], Answer]]:
    """What was otherwise than the oracle says, and what each follower had to answer to each signal."""
    wrong: list[str] = []
    answers: dict[tuple[str, str], Answer] = {}
    for shard, events in story.events.items():
        oracle, state = Oracle(as_data(plans), story.ends), new_state(shard, len(story.events))
        for event in events:
            oracle.hear(event)
            evolve(state, DECODER.decode(msgspec.json.encode(event)))
            if (name := event["o"]) in state.followers:
                ours, theirs = oracle.holdings(name), lots_of(state.followers[name])
                wrong += [f"{event}: {name} holds {theirs}, expected {ours}"] if ours != theirs else []
        wrong += oracle.wrong + oracle.left_over()
        answers |= oracle.expected
    return wrong, answers


def lots_of(follower: FollowerState) -> dict[Key, Fraction]:
    """What the engine says a follower holds."""
    lots = (follower.lots or {}).values()
    return {Key(lot.venue, lot.symbol, lot.direction, lot.whale_id): Fraction(lot.filled) for lot in lots if lot.filled}
