"""How a process of ours ends when something is wrong: at once, with the reason on stderr; a supervisor starts it again.

Enters: the error. Leaves: nothing; no ack, no commit and no command is sent after it. And when a cancellation is none: nobody asked for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from engine.errors import DependencyUnreachable, RemoraError

UNEXPECTED = 1
CUT_SHORT = 128 + signal.SIGTERM
"""A stop that somebody asked for took too long and was not waited for."""
log = logging.getLogger(__name__)


def die(error: BaseException) -> NoReturn:
    """Say why and end the process without any clean-up: a clean stop would ack and commit what was not done."""
    code = error.exit_code if isinstance(error, RemoraError) else UNEXPECTED
    trace = None if isinstance(error, RemoraError) else error
    log.critical("ending with exit code %s: %s: %s", code, type(error).__name__, error, exc_info=trace)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_within(seconds: float) -> None:
    """End the process if a clean stop takes longer than `seconds`: whoever asked for it may be gone, and nothing is lost."""

    def cut_short() -> None:
        log.critical("ending with exit code %s: stopping took longer than %g s", CUT_SHORT, seconds)
        os._exit(CUT_SHORT)

    timer = threading.Timer(seconds, cut_short)
    timer.daemon = True
    timer.start()


def is_cancelled() -> bool:
    """Whether somebody has cancelled the current task."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextmanager
def own_cancellations() -> Iterator[None]:
    """A cancellation goes through. One that nobody asked of this task was a client library's own, handed on by mistake: taken for a stop it
    would end a reader for ever and silently. Raises `DependencyUnreachable` in its place."""
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise DependencyUnreachable("A client library gave up what was waited for.") from error
