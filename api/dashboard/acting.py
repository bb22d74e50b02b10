"""How forms write: the same way as the API's routes (`api.writing`), so a form that is sent twice acts once.

`Acting` is a page whose visitor proved the session's CSRF token. Each form carries a `once` of its own, made with the page: it is
the `Idempotency-Key`. What the contract refuses is shown as a page that names the field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final

from fastapi import Depends, Form, Request

from api.dashboard.shell import Page, PageProblem
from api.security import Principal
from api.security.guard import identify
from api.security.session import FIELD
from api.writing import Write, begin
from engine.config import Settings
from engine.contracts.signal import WhaleSignal
from engine.domain.messages import ControlRecord, FollowerCommand
from engine.errors import ContractViolation, DependencyUnreachable

GUIDE: Final = "/remora/guide"
Once = Annotated[str, Form(min_length=8, max_length=64, pattern="^[0-9a-f]+$")]
Who = Annotated[Principal, Depends(identify)]


class Action(Page):
    """A form that was sent. Each method gives the record's position, as `min_position` takes it. Errors: PageProblem."""

    def __init__(self, request: Request, viewer: Who, once: Once) -> None:
        super().__init__(request, viewer)
        self.settings: Settings = request.app.state.settings
        self._once = once

    async def control(self, make: Callable[[str, str], ControlRecord]) -> str:
        """Append a control record, made of a request id and an actor."""
        write = await self._write("control")

        async def build() -> ControlRecord:
            return make(write.id, self.viewer.actor)

        with refusals():
            return (await write.control(build)).position

    async def command(self, follower: str, make: Callable[[str, str], FollowerCommand]) -> str:
        """Append a command of a follower, made of a request id and an actor."""
        write = await self._write(make.__name__)

        async def build() -> FollowerCommand:
            return make(write.id, self.viewer.actor)

        with refusals():
            return (await write.command(follower, build)).position

    async def signal(self, make: Callable[[str], WhaleSignal]) -> str:
        """Publish a signal, made of its id."""
        write = await self._write("signal")
        with refusals():
            return (await write.signal(make(write.id), GUIDE)).position

    async def _write(self, what: str) -> Write:
        """Of these fields: a browser that goes back may send other ones with the same `once`."""
        fields = [(name, str(value)) for name, value in (await self.request.form()).multi_items() if name != FIELD]
        return begin(self.viewer, self.request, f"form-{self._once}-{what}", json.dumps(sorted(fields)).encode())


@contextmanager
def refusals() -> Iterator[None]:
    """What went wrong as a page."""
    try:
        yield
    except ContractViolation as error:
        raise PageProblem(422, "This cannot be done", f"{error.field}: found {error.value!r}, expected {error.expected}.") from error
    except DependencyUnreachable as error:
        raise PageProblem(503, "Kafka does not answer", "Nothing was written. Try again in a moment.") from error


Acting = Annotated[Action, Depends(Action)]
