"""Cancellations that nobody asked for, made on purpose inside aiokafka: readers enter, what they wait for is given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from engine.log.consume import open_consumer
from tests.support import wait_until


def consumers_of(module: Any, patch: pytest.MonkeyPatch) -> list[AIOKafkaConsumer]:
    """Every consumer that a module opens from now on, the newest last."""
    found: list[AIOKafkaConsumer] = []

    @asynccontextmanager
    async def opened(*arguments: Any, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
        async with open_consumer(*arguments, **options) as consumer:
            found.append(consumer)
            yield consumer

    patch.setattr(module, "open_consumer", opened)
    return found


async def give_up(consumer: AIOKafkaConsumer) -> None:
    """Cancel what a reader waits for inside the consumer."""
    waiters = consumer._fetcher._fetch_waiters
    await wait_until(lambda: bool(waiters))
    for waiter in list(waiters):
        waiter.cancel()


async def lose_connections(consumer: AIOKafkaConsumer) -> None:
    """Close every connection under a fetch, which waits long until it tries again."""
    fetcher: Any = consumer._fetcher
    fetcher._retry_backoff = 3600.0
    await wait_until(lambda: bool(fetcher._in_flight))
    for connection in list(consumer._client._conns.values()):
        connection.close()
    await wait_until(lambda: any(_sleeps(fetch) for fetch in fetcher._pending_tasks))


def _sleeps(fetch: Any) -> bool:
    return bool(fetch.get_stack(limit=1)) and "retry_backoff" in _line(fetch)


def _line(fetch: Any) -> str:
    import linecache

    [frame] = fetch.get_stack(limit=1)
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno)
