"""A Kafka that cannot be reached, said clearly, here only: aiokafka's error enters, `DependencyUnreachable` leaves (exit code 4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiokafka.errors import IllegalArgumentError, IllegalStateError, KafkaError

from engine.config import Settings
from engine.errors import DependencyUnreachable

ANSWER: Final = "did not answer"


def clearly(settings: Settings, error: BaseException, what: str = ANSWER) -> BaseException:
    """What to end with: an error of Kafka's becomes `DependencyUnreachable` and says `what` Kafka did, our own misuse of it and everything
    else stays what it is."""
    if not isinstance(error, KafkaError) or isinstance(error, IllegalStateError | IllegalArgumentError):
        return error
    return _unreachable(settings, error, what)


def _unreachable(settings: Settings, error: BaseException, what: str) -> DependencyUnreachable:
    said = DependencyUnreachable(f"Kafka at {settings.kafka} {what}: {str(error).rstrip('.') or type(error).__name__}.")
    said.__cause__ = error
    return said


@contextmanager
def asking(settings: Settings, what: str = ANSWER) -> Iterator[None]:
    """Within it Kafka's errors, and those of the way to it, are said clearly."""
    try:
        yield
    except OSError as error:
        raise _unreachable(settings, error, what) from error
    except KafkaError as error:
        if (said := clearly(settings, error, what)) is error:
            raise
        raise said from error
