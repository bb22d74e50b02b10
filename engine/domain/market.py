"""Market rules and marks: reports enter, events leave (rules only where they changed)."""

from __future__ import annotations

from engine.domain.events import AnyEvent, MarksRecorded, RulesRecorded
from engine.domain.messages import MarksReported, RulesReported
from engine.domain.state import ShardState, market_key

RULES_PER_EVENT = 500


def decide_rules(state: ShardState, report: RulesReported) -> list[AnyEvent]:
    """Record the rules that differ from what is known."""
    changed = [rules for rules in report.rules if state.rules.get(market_key(rules.venue, rules.symbol)) != rules]
    return [
        RulesRecorded(
            originator_id=state.originator_id,
            originator_version=state.version + 1 + number,
            at=state.now,
            rules=tuple(changed[start : start + RULES_PER_EVENT]),
        )
        for number, start in enumerate(range(0, len(changed), RULES_PER_EVENT))
    ]


def decide_marks(state: ShardState, report: MarksReported) -> list[AnyEvent]:
    """Record the newest prices of a venue."""
    return [
        MarksRecorded(
            originator_id=state.originator_id,
            originator_version=state.version + 1,
            at=state.now,
            venue=report.venue,
            marks=report.marks,
            reported_at=min(report.at, state.now),
        )
    ]
