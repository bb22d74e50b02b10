"""`users` and `user_whale_follows`: settings and terms events enter, the newest settings and terms leave, one row each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from projections.ids import position_id, user_id, whale_number
from projections.sql import load
from projections.staging import Curs, copy_rows, when
from projections.trades import fitting
from projections.views import FollowerConfigured, WhaleFollowed, WhaleUnfollowed, read_terms

USERS: Final = (
    "id",
    "follower_key",
    "copy_trading_enabled",
    "preferred_exchange",
    "max_leverage",
    "mode",
    "paused",
    "leverage_limit",
    "limits",
    "config_version",
    "created_at",
    "updated_at",
    "version",
)
FOLLOWS: Final = (
    "id",
    "user_id",
    "whale_id",
    "follower_key",
    "whale_key",
    "auto_copy_enabled",
    "trade_size_usdt",
    "trade_size_percent",
    "sizing",
    "terms",
    "config_version",
    "unfollowed_at",
    "created_at",
    "updated_at",
    "version",
)


@dataclass(slots=True)
class Followers:
    """What a batch changes in both tables. Later events of the same follower or follow replace earlier ones."""

    configured: dict[str, list[object]] = field(default_factory=dict)
    follows: dict[tuple[str, str], list[object]] = field(default_factory=dict)

    def on_configured(self, event: FollowerConfigured, partition: int, offset: int) -> None:
        """Settings replaced."""
        key, settings = event.originator_id, event.settings
        before = self.configured.get(key)
        self.configured[key] = [
            user_id(key),
            key,
            settings.copy_trading_enabled,
            settings.preferred_exchange,
            fitting(settings.max_leverage),
            settings.mode,
            settings.paused,
            settings.max_leverage,
            bytes(settings.limits).decode(),
            event.config_version,
            before[-3] if before else when(event.at),
            when(event.at),
            1 + (before[-1] if before else 0),  # type: ignore[operator]
        ]

    def on_followed(self, event: WhaleFollowed, partition: int, offset: int) -> None:
        """Terms replaced, or a follow begun (again)."""
        terms = read_terms(event.terms)
        sizes: list[object] = [
            terms.auto_copy_enabled,
            terms.trade_size_usdt,
            terms.trade_size_percent,
            terms.sizing,
            bytes(event.terms).decode(),
        ]
        self._put(event, position_id(partition, offset), sizes, None)

    def on_unfollowed(self, event: WhaleUnfollowed, partition: int, offset: int) -> None:
        """No more opens; the row and its terms stay, with the time of the end."""
        before = self.follows.get((event.originator_id, event.whale_id))
        sizes: list[object] = [False, *(before[6:10] if before else (None, None, None, None))]
        self._put(event, position_id(partition, offset), sizes, when(event.at))

    def _put(self, event: WhaleFollowed | WhaleUnfollowed, new_id: int, sizes: list[object], ended: str | None) -> None:
        key = (event.originator_id, event.whale_id)
        before = self.follows.get(key)
        self.follows[key] = [
            before[0] if before else new_id,
            user_id(key[0]),
            whale_number(key[1]),
            *key,
            *sizes,
            event.config_version,
            ended,
            before[-3] if before else when(event.at),
            when(event.at),
            1 + (before[-1] if before else 0),  # type: ignore[operator]
        ]

    def write(self, cursor: Curs) -> None:
        """Stage and merge both tables, followers first: follows refer to them."""
        merges = load("merges.sql")
        if self.configured:
            copy_rows(cursor, "stage_users", USERS, (self.configured[key] for key in sorted(self.configured)))
            cursor.execute(merges["merge_users"])
        if self.follows:
            copy_rows(cursor, "stage_follows", FOLLOWS, (self.follows[key] for key in sorted(self.follows)))
            cursor.execute(merges["merge_follows"])
