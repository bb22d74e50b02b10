"""The credentials that this process trades with, in memory, kept equal to the vault by polling its revision.

Enters: the vault. Leaves: keys of an account (read through when they are not known yet), the account of an order's own mode, and the list
of accounts of some shards.
A vault that cannot be reached changes nothing that is known; a credential that does not open is treated as missing and said so once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import TupleRow

from engine.config import Settings
from engine.domain.messages import PlaceOrder
from engine.domain.values import Mode, Venue
from engine.errors import ConfigInvalid, DependencyUnreachable
from engine.exchanges.port import Credential
from engine.executor.accounts.sealing import MasterKey, VaultSealed
from engine.executor.accounts.vault import COLUMNS, open_row
from engine.executor.jobs import Account

log = logging.getLogger(__name__)
POLL_S: Final = 1.0
LOOK_BACK: Final = 1000
_ROWS: Final = f"SELECT {COLUMNS} FROM vault.credentials WHERE revision > %s"
Papers = Literal["beside", "same", "nowhere"]
"""Where paper accounts are: at a venue beside the real ones; at the one simulator that stands for all, where an account takes orders of
every mode; or nowhere."""
_Row = tuple[str, str, str]
"""Key of a row: follower, venue, kind."""


def papers_of(settings: Settings) -> Papers:
    """Where paper accounts are."""
    return "beside" if settings.paper_url else "same" if settings.exchange_url else "nowhere"


class Directory:
    """Accounts with their keys. `open` before use; `watch` for ever."""

    def __init__(self, dsn: str, master: MasterKey, papers: Papers, appeared: Callable[[Account], None]) -> None:
        self._dsn, self._master, self._papers, self._appeared = dsn, master, papers, appeared
        self._rows: dict[_Row, Credential] = {}
        self._known: dict[Account, Credential] = {}
        self._revision = 0
        self._count = -1
        self._turn = 0
        self._conn: psycopg.AsyncConnection[TupleRow] | None = None
        self._lock = asyncio.Lock()

    async def _connection(self) -> psycopg.AsyncConnection[TupleRow]:
        if self._conn is None or self._conn.closed:
            self._conn = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5)
        return self._conn

    async def open(self) -> None:
        """The first load; raises `DependencyUnreachable`, and `ConfigInvalid` for a vault of an older version."""
        try:
            await self.load()
        except psycopg.errors.UndefinedColumn:
            raise ConfigInvalid("the vault is of an older version: run `remora init`") from None
        except psycopg.Error as error:
            raise DependencyUnreachable(f"the vault cannot be read: {type(error).__name__}") from None

    async def load(self) -> None:
        """Bring the directory up to date; raises `psycopg.Error` when the vault cannot be read."""
        async with self._lock:
            conn = await self._connection()
            mark = await (await conn.execute("SELECT count(*), coalesce(max(revision), 0) FROM vault.credentials")).fetchone()
            assert mark is not None, "an aggregate gives one row"
            if mark == (self._count, self._revision):
                return
            # Revisions are drawn before commits, so a lower one may appear after a higher: look back a little. They go back when a dump
            # was restored.
            since = max(self._revision - LOOK_BACK, 0) if mark[1] >= self._revision else 0
            rows = await (await conn.execute(_ROWS, (since,))).fetchall()
            present = self._rows.keys() | {(row[0], row[1], row[3]) for row in rows}
            if len(present) != mark[0]:
                present = set(await (await conn.execute("SELECT follower_id, venue, kind FROM vault.credentials")).fetchall())
            for name in self._rows.keys() - present:
                self._forget(name)
            for row in rows:
                self._take(row)
            self._count, self._revision = mark

    def account_of(self, order: PlaceOrder) -> Account:
        """Where an order goes: to the account of its own mode."""
        return Account(order.follower_id, order.venue, None if self._papers == "same" else order.mode)

    def _account(self, keys: Credential) -> Account:
        mode: Mode = "paper" if keys.paper else "live"
        return Account(keys.follower_id, keys.venue, None if self._papers == "same" else mode)

    def _forget(self, name: _Row) -> None:
        account = self._account(self._rows.pop(name))
        self._known.pop(account, None)
        left = (self._rows.get((account.follower_id, account.venue, kind)) for kind in ("live", "", "paper"))
        if keys := next((keys for keys in left if keys is not None and self._account(keys) == account), None):
            self._known[account] = keys

    def _take(self, row: tuple[Any, ...]) -> None:
        try:
            keys = open_row(self._master, row)
        except VaultSealed as error:
            log.error("account of %s on %s: %s", row[0], row[1], error)
            return
        account = self._account(keys)
        known = self._known.get(account)
        self._rows[row[0], row[1], row[3]] = keys
        if keys.paper and (self._papers == "nowhere" or (known is not None and not known.paper)):
            return
        self._known[account] = keys
        if known is None or (known.version, known.paper) != (keys.version, keys.paper):
            self._appeared(account)

    async def watch(self) -> None:
        """Poll the vault for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.load()
            except psycopg.Error as error:
                log.warning("the vault cannot be read: %s", type(error).__name__)

    async def credential(self, account: Account) -> Credential | None:
        """The account's keys; asks the vault when they are not known. None only when the vault answered that it has none."""
        while account not in self._known:
            try:
                await self.load()
                break
            except psycopg.Error as error:
                log.warning("the vault cannot be read: %s", type(error).__name__)
                await asyncio.sleep(POLL_S)
        return self._known.get(account)

    def accounts(self) -> list[Account]:
        """Every account that is known."""
        return list(self._known)

    def is_known(self, account: Account) -> bool:
        """Whether there are keys of it."""
        return account in self._known

    async def keys_of(self, venue: Venue) -> Credential | None:
        """Keys of any real account of the venue, each time another's; None when it has none."""
        known = [account for account in self._known if account.venue == venue and account.mode != "paper"]
        self._turn += 1
        return await self.credential(known[self._turn % len(known)]) if known else None

    async def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            await self._conn.close()
