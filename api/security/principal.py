"""`Principal`: who asks. A stored key enters, a frozen value with what it may leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.access import Scope

__all__ = ["Principal", "Scope"]


@dataclass(frozen=True)
class Principal:
    """One API key, whether it came in a header or stands behind a session. `follower_id`: it sees this follower's rows only."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    follower_id: str | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether it has the scope; `admin` has all."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, follower_id: str | None) -> bool:
        """Whether rows of this follower are its business."""
        return self.follower_id is None or self.follower_id == follower_id

    def only(self, follower_id: str | None) -> str | None:
        """The follower to filter a list by: its own whatever was asked, else what was asked."""
        return self.follower_id or follower_id

    @property
    def actor(self) -> str:
        """How it is named on the log."""
        return f"key:{self.key_id}"


def principal_of(row: Mapping[str, Any]) -> Principal:
    """From a row of `projections/access.sql`."""
    return Principal(row["key_id"], row["name"], frozenset(row["scopes"]), row["follower_id"])
