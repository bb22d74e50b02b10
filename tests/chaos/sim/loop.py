"""Virtual time and processes: coroutines enter, steps leave in an order that the seed alone decides.

A process is every task and callback that was started from inside it (a context variable says which). The loop asks the process before
each step: a killed one never takes another step, as after `kill -9`; a stopped one takes them when it is continued, as after SIGSTOP.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
UNWINDING = 5
MOST_STEPS = 300_000
STEP_S = 2e-6
"""What a step costs: without it, code that waits for a moment that rounding has brought to now would wait for ever."""
EPOCH_MS = 1_785_000_000_000
PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class RunsAway(Exception):
    """Something goes round and round."""


class ProcessEnded(BaseException):
    """Unwinds the step in which a process ended itself."""


class Process:
    """One life of one process. `kill_at` and `stop_at`: number of the step before which the process is killed or stopped."""

    def __init__(self, name: str, ended: Callable[[Process], None], on_stop: Callable[[Process], None]) -> None:
        self.name, self._ended, self.on_stop = name, ended, on_stop
        self.steps, self.kill_at, self.stop_at = 0, -1, -1
        self.alive, self.stopped = True, False
        self.error: BaseException | None = None
        self.members: list[Any] = []
        """Its places in consumer groups, past and present."""
        self.held: deque[events.Handle] = deque()

    def admits(self, handle: events.Handle) -> bool:
        """Whether the process takes this step now. What it does not take is kept: a stopped process may go on."""
        if self.alive and not self.stopped:
            self.steps += 1
            if self.steps == self.kill_at:
                self.kill()
            elif self.steps == self.stop_at:
                self.stopped = True
                self.on_stop(self)
            else:
                return True
        self.held.append(handle)
        return False

    def kill(self, error: BaseException | None = None) -> None:
        """No further step. `error` is why the process ended itself, None when it was killed."""
        if self.alive:
            self.alive, self.error = False, error
            self._ended(self)

    def resume(self, loop: VirtualLoop) -> None:
        """Go on where the process was stopped."""
        self.stopped = False
        loop._ready.extend(self.held)
        self.held.clear()


def die(error: BaseException) -> NoReturn:
    """What `engine.fate.die` is in this world: the end of the process whose step this is."""
    process = PROCESS.get()
    assert process is not None, f"outside of any process: {error!r}"
    process.kill(error)
    raise ProcessEnded from error


async def rest(seconds: float) -> None:
    """Let virtual time pass for the caller."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _over, over)
    try:
        await over
    finally:
        timer.cancel()


def _over(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Task(asyncio.Task[Any]):
    """A task that sets keep in the order of its making, so that a seed repeats itself in another process."""

    _made = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        _Task._made += 1
        self._number = _Task._made
        context = options.get("context")
        self.process = PROCESS.get() if context is None else context[PROCESS]
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _NoSelector:
    def select(self, timeout: float | None) -> list[Any]:
        raise AssertionError("there is no I/O in here")


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else is to do."""

    def __init__(self) -> None:
        super().__init__()
        _Task._made = 0
        self._selector = _NoSelector()
        self._now = 0.0
        self.steps = 0
        self.failures: list[str] = []
        self._tasks: list[_Task] = []
        self._outside = copy_context()
        self._outside.run(PROCESS.set, None)
        self.set_exception_handler(self._note)
        self.set_task_factory(self._make_task)

    def _make_task(self, _: Any, coro: Coroutine[Any, Any, T], context: Context | None = None, name: str | None = None) -> asyncio.Task[T]:
        task = _Task(coro, loop=self, context=context)
        self._tasks.append(task)
        return task

    def _note(self, _: Any, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), ProcessEnded):
            self.failures.append(f"{context['message']}: {context.get('exception')!r}")

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """There are no threads: what would run in one runs at once."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def time(self) -> float:
        """Virtual seconds since the world began."""
        return self._now

    def now_ms(self) -> int:
        """The wall clock of the world."""
        return EPOCH_MS + int(self._now * 1000)

    def outside(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call later in no process: what is on the wire or happens elsewhere outlives whoever caused it."""
        self.call_later(delay, callback, *args, context=self._outside)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` is done."""
        events._set_running_loop(self)
        try:
            task = self.create_task(main, context=self._outside)
            while not task.done():
                if self.steps > MOST_STEPS:
                    raise RunsAway(f"{MOST_STEPS} steps, and no end at {self._now:.1f} s")
                self._step()
            return task.result()
        finally:
            events._set_running_loop(None)

    def _step(self) -> None:
        ready, timers = self._ready, self._scheduled
        if not ready:
            assert timers, "nothing will ever happen again"
            self._now = max(self._now, timers[0]._when)
            while timers and timers[0]._when <= self._now:
                handle = heapq.heappop(timers)
                handle._scheduled = False
                ready.append(handle)
        handle = ready.popleft()
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)
        if process is None or process.admits(handle):
            self.steps += 1
            self._now += STEP_S
            handle._run()

    def unseen(self) -> list[BaseException]:
        """Errors of tasks that nobody has looked at, though their process goes on."""
        over = [task for task in self._tasks if task.done() and not task.cancelled() and (task.process is None or task.process.alive)]
        found = [task.exception() for task in over if task._log_traceback]  # type: ignore[attr-defined]
        return [error for error in found if error is not None and not isinstance(error, ProcessEnded)]

    def dispose(self, processes: Iterable[Process]) -> None:
        """Unwind every task, dead processes' too, so that none is left to the garbage collector. Nothing of it counts any more."""
        for process in processes:
            self._ready.extend(process.held)
        events._set_running_loop(self)
        try:
            for _ in range(UNWINDING):
                for task in self._tasks:
                    task.cancel()
                self._scheduled.clear()
                while self._ready:
                    handle = self._ready.popleft()
                    if not handle._cancelled:
                        handle._run()
                self._tasks = [task for task in self._tasks if not task.done()]
        finally:
            events._set_running_loop(None)
        assert not self._tasks, self._tasks
        self.close()


class VirtualClock:
    """Stands in for the module `time` where the code under test reads a clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.monotonic = self.perf_counter = loop.time

    def time(self) -> float:
        """Seconds since 1970 by the world's clock."""
        return EPOCH_MS / 1000 + self.monotonic()
