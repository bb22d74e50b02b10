"""The vault as a list: accounts enter, credentials leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from engine.exchanges.port import Credential
from engine.executor.jobs import Account

_SECRET = SecretStr("none")


class Directory:
    """What `engine.executor.accounts.Directory` is to the executor."""

    def __init__(self, accounts: list[Any], appeared: Callable[[Account], None]) -> None:
        self._accounts, self._appeared = accounts, appeared

    async def load(self) -> None:
        """All accounts are there from the start."""
        for account in self._accounts:
            self._appeared(account)

    async def watch(self) -> None:
        """None is added."""
        await asyncio.get_running_loop().create_future()

    async def credential(self, account: Account) -> Credential | None:
        """Keys."""
        return Credential(account[0], account[1], _SECRET, _SECRET) if account in self._accounts else None

    def accounts(self) -> list[Account]:
        """Every account."""
        return list(self._accounts)

    async def close(self) -> None:
        """Closed."""


def directory(accounts: list[Any]) -> Callable[..., Directory]:
    """What makes a directory in the place of the real one."""
    return lambda dsn, master, appeared: Directory(accounts, appeared)
