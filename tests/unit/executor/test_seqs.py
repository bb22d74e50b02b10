"""Which commands of a shard are finished, across takeovers."""

from __future__ import annotations

from engine.executor.seqs import Hint, Seqs


def test_a_hint_never_leaves_out_what_was_not_read_again() -> None:
    """Taken over and lost again before a command was read: its end, recorded by the first owner, must reach the third."""
    given = Hint(watermark=1, executions=15, epoch=11)
    second = Seqs(given, ended={2}, attempted=set())
    assert second.resume(next_command=7, next_execution=24, epoch=20) == (7, given)
    assert second.read(2, 7, 24, 20) and second.has_ended(2)
    assert second.resume(next_command=8, next_execution=24, epoch=20) == (8, Hint(watermark=2, executions=24, epoch=20))
