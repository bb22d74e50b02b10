"""Errors that cross module borders. Refusals are data, bugs are `assert`; these are what the outside world does to us."""

from __future__ import annotations


class RemoraError(Exception):
    """Base of every error that an operator can see; its text is one clear sentence. `exit_code` is the CLI's."""

    exit_code = 1


class ConfigInvalid(RemoraError):
    """A setting is missing, malformed or contradicts what exists (for example a topic's partition count)."""

    exit_code = 3


class DependencyUnreachable(RemoraError):
    """Kafka, Postgres, an exchange or a download cannot be reached."""

    exit_code = 4


class FencedOut(RemoraError):
    """Another writer owns this shard: an ack came back at an unexpected offset. The process must end at once."""

    exit_code = 70


class LogCorrupt(RemoraError):
    """The log holds something that its own markers rule out (a gap, a wrong digest). The process must end at once."""

    exit_code = 71


class ContractViolation(RemoraError):
    """A record does not follow its contract: the field's path, the value as text (cut), and what was expected."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, str(value)[:200], expected
        super().__init__(f"{field}: got {self.value!r}, expected {expected}")
