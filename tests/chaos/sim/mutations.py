"""Breaches of the design's rules as patches of the product's source text: a name enters, the code under test is broken until the end.

A patch whose text is not found any more fails loudly: the rule that it breaks may have moved.
"""

from __future__ import annotations
import __future__

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from types import CodeType
from typing import Any, NamedTuple

from faust.types import TP

from engine.config import Settings
from engine.executor import takeover


class Patch(NamedTuple):
    """In the function `name` (`Class.method`) of `module`, `old` becomes `new`."""

    module: str
    name: str
    old: str
    new: str


class Mutation(NamedTuple):
    """One broken rule."""

    rule: str
    patches: tuple[Patch, ...]


async def committed(settings: Settings, role: str, tps: frozenset[TP]) -> dict[TP, int]:
    """What a trusting consumer would go on from."""
    admin: Any = takeover.AIOKafkaAdminClient(bootstrap_servers=settings.kafka)  # type: ignore[attr-defined]
    found = await admin.list_consumer_group_offsets(settings.group(role), partitions=sorted(tps))
    return {tp: found[tp].offset if tp in found else 0 for tp in tps}


READER, WRITER, SHARD = "engine.log.reader", "engine.log.writer", "engine.agents.shard"
MUTATIONS: dict[str, Mutation] = {
    "unmarked_rounds_accepted": Mutation(
        "events of unmarked rounds are accepted",
        (
            Patch(READER, "RoundReader.feed", "                self._void()\n                pending = self._pending\n", ""),
            Patch(READER, "RoundReader._close", " or marker.events != len(events)", ""),
            Patch(READER, "RoundReader._close", "if digest != marker.digest or marker.first_id != self.position.next_id:", "if False:"),
            Patch(READER, "RoundReader._close", "            self._void()\n", ""),
        ),
    ),
    "group_offsets_trusted_by_the_sequencer": Mutation(
        "the sequencer goes on where its group offsets say, not where the shards' log says",
        (
            Patch(
                "engine.agents.sequencer",
                "Sequencer.positions",
                "await resume_positions(self._settings, tps)",
                'await committed(self._settings, "sequencer", tps)',
            ),
        ),
    ),
    "group_offsets_trusted_by_the_engine": Mutation(
        "the engine goes on where its group offsets say, not where the shard's log says",
        (
            Patch(
                "engine.agents.engine",
                "Engine._next_inbox",
                "return self.shards[number].resume()",
                'self.shards[number].next_inbox = (await committed(self._settings, "engine", frozenset([tp])))[tp]\n'
                "        return self.shards[number].resume()",
            ),
        ),
    ),
    "commands_not_sent_again": Mutation(
        "a new owner does not send again what its predecessor may not have sent",
        (Patch(SHARD, "Shard.load", "self.state.command_seq - len(self.state.outbox)", "self.state.command_seq"),),
    ),
    "unexpected_acks_ignored": Mutation(
        "a writer goes on after an ack at an unexpected offset",
        (Patch(WRITER, "ShardWriter.write_round", "if offset != self.next_offset:", "self.next_offset = offset\n            if False:"),),
    ),
    "unexpected_acks_ignored_by_the_executor": Mutation(
        "an executor goes on after an ack at an unexpected offset",
        (
            Patch(
                "engine.executor.journal",
                "Journal._write_batch",
                "if metadata.offset != self.next_offset:",
                "self.next_offset = metadata.offset\n        if False:",
            ),
        ),
    ),
    "now_read_from_the_clock": Mutation(
        "now is the clock's, not the record's",
        (
            Patch(
                "engine.domain.shard",
                "decide",
                "state.now = max(state.now, append_ms)",
                'state.now = __import__("time").time_ns() // 1_000_000',
            ),
        ),
    ),
    "attempts_forgotten": Mutation(
        "a new executor sends again what was attempted and has no outcome, instead of asking for it",
        (Patch("engine.executor.shard", "Shard.recover", "self._enqueue(_recovered(attempt, self))", "pass"),),
    ),
    "seen_positions_decided_again": Mutation(
        "a shard decides again on a source position that it has seen, and on signals that it knows",
        (
            Patch("engine.domain.shard", "decide", "if src.offset < state.sources.get(key, 0):", "if False:"),
            Patch("engine.domain.signal_queue", "decide_admission", "if _seen_key(signal) in state.seen or", "if"),
        ),
    ),
}
"""The five that the design names (two of them at two places), and some more."""


def _made(patch: Patch, function: Any, text: str) -> Any:
    """The function with this text. Methods keep their indentation, so that patches read as their file does."""
    found: dict[str, Any] = {}
    source = f"class Broken:\n{text}" if text.startswith(" ") else text
    exec(compile(source, f"<{patch.name}, broken>", "exec", flags=__future__.annotations.compiler_flag), {}, found)
    return vars(found["Broken"])[function.__name__] if "Broken" in found else found[function.__name__]


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The code under test with one mutation, wherever it was imported to: functions get other code, and their own again."""
    kept: list[tuple[Any, CodeType]] = []
    texts: dict[Any, str] = {}
    added = [vars(import_module(patch.module)) for patch in MUTATIONS[name].patches]
    try:
        for patch, space in zip(MUTATIONS[name].patches, added, strict=True):
            function = attrgetter(patch.name)(import_module(patch.module))
            text = texts.get(function) or inspect.getsource(function)
            assert patch.old in text, f"{patch.module}.{patch.name} does not contain {patch.old!r}"
            texts[function] = text = text.replace(patch.old, patch.new)
            kept.append((function, function.__code__))
            space["committed"] = committed
            function.__code__ = _made(patch, function, text).__code__
        yield
    finally:
        for function, code in reversed(kept):
            function.__code__ = code
        for space in added:
            space.pop("committed", None)
