"""A Kafka that cannot be reached, said clearly: aiokafka's error enters, `DependencyUnreachable` leaves (exit code 4)."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalArgumentError, IllegalStateError, KafkaError

from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.log.writer import build_producer


def clearly(settings: Settings, error: BaseException) -> BaseException:
    """What to end with: an error of Kafka's becomes `DependencyUnreachable`, our own misuse of it and everything else stays what it is."""
    if not isinstance(error, KafkaError) or isinstance(error, IllegalStateError | IllegalArgumentError):
        return error
    said = DependencyUnreachable(f"Kafka at {settings.kafka} did not answer: {error or type(error).__name__}")
    said.__cause__ = error
    return said


async def start_producer(settings: Settings, client_id: str) -> AIOKafkaProducer:
    """An idempotent producer, connected; raises `DependencyUnreachable`."""
    producer = build_producer(settings, client_id)
    await start(settings, producer)
    return producer


async def start(settings: Settings, producer: AIOKafkaProducer) -> None:
    """Connect a producer; one that cannot is stopped again. Raises `DependencyUnreachable`."""
    try:
        await producer.start()  # type: ignore[no-untyped-call]
    except KafkaError as error:
        await producer.stop()  # type: ignore[no-untyped-call]
        raise clearly(settings, error) from error
