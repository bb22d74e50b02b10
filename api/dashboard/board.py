"""What is in force now, and who did what lately: the API's view of the control topic and of the audit trail enters, rows for people leave.

Both come from the log itself, so the dashboard tells of a halt before the read models have caught up with anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from api.audit import Act, get_audit
from api.control import Control, Gate, Setting
from api.dashboard.shared import shared
from api.dashboard.shell import Page
from engine.errors import DependencyUnreachable

FRESH_S: Final = 0.5
TRAIL_FRESH_S: Final = 2.0
TRAIL: Final = 20


@dataclass(frozen=True)
class Board:
    """Switches that are not `running`, by scope and target, and the queue's gate."""

    switches: Mapping[tuple[str, str], Setting]
    gate: Gate

    @property
    def everywhere(self) -> str:
        """State of the global switch."""
        found = self.switches.get(("global", ""))
        return found.state if found else "running"


async def board_of(page: Page) -> Board | None:
    """At most `FRESH_S` old; None when Kafka does not answer."""
    control: Control = page.request.app.state.control

    async def ask() -> Board:
        fold = await control.now()
        return Board({scope: found for scope, found in fold.switches.items() if found.state != "running"}, fold.gate)

    try:
        return await shared(page).get("board", FRESH_S, ask)
    except DependencyUnreachable:
        return None


async def trail_of(page: Page) -> list[Act] | None:
    """The newest writes, for those who may see them; None when Kafka does not answer."""
    if not page.viewer.allows("admin"):
        return []
    try:
        return (await shared(page).get("trail", TRAIL_FRESH_S, lambda: get_audit(page.request, page.viewer, limit=TRAIL))).items
    except DependencyUnreachable:
        return None
