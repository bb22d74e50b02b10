"""The vault as a list: accounts enter, credentials leave. The rest is the executor's own directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from engine.exchanges.port import Credential
from engine.executor import accounts
from engine.executor.jobs import Account

_SECRET = SecretStr("none")


class Directory(accounts.Directory):
    """Reads a list where the real one reads Postgres."""

    def __init__(self, listed: list[Any], appeared: Callable[[Account], None]) -> None:
        super().__init__("", None, "same", appeared)  # type: ignore[arg-type]
        self._listed = listed

    async def load(self) -> None:
        """Take what is new."""
        for account in [Account(*listed) for listed in self._listed]:
            if account not in self._known:
                self._known[account] = Credential(account.follower_id, account.venue, _SECRET, _SECRET)
                self._appeared(account)

    async def watch(self) -> None:
        """Accounts that are added later are found when they are asked for."""
        await asyncio.get_running_loop().create_future()


def directory(listed: list[Any]) -> Callable[..., Directory]:
    """What makes a directory in the place of the real one."""
    return lambda dsn, master, papers, appeared: Directory(listed, appeared)
