"""Accounts that outlive the process: a paper venue's keys, balances and positions enter a file and come back from it.

Orders and fills are not kept: a paper venue that was killed forgets at most its last second, which the executor's reconciliation finds.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from engine.exchanges.simulator.model import Account, Balance, Position, plain
from engine.exchanges.simulator.world import World

SAVE_S: Final = 1.0
ATTACH_S: Final = 0.1


class Keeper:
    """One file of accounts. `restore` first; then `attach` until it is True; then `run`."""

    def __init__(self, world: World, file: Path) -> None:
        self._world, self._file = world, file
        self._saved = b""
        self._waiting: list[tuple[Account, dict[str, Any]]] = []

    def restore(self) -> None:
        """Register what the file says; positions wait for their markets."""
        if not self._file.exists():
            return
        for kept in orjson.loads(self._file.read_bytes()):
            account = self._world.registry.register(kept | {"venue": kept["exchange"]})
            account.balances = {asset: Balance(Decimal(amount)) for asset, amount in kept["balances"].items()}
            account.margin_type = dict(kept["margin_type"])
            self._waiting += [(account, position) for position in kept["positions"]]

    def attach(self) -> bool:
        """Give positions to accounts as far as their markets are listed; whether all have theirs."""
        still = []
        for account, kept in self._waiting:
            market = self._world.markets[kept["venue"]].get(kept["market"])
            if market is None:
                still.append((account, kept))
                continue
            quantity, entry, realized = (Decimal(kept[name]) for name in ("quantity", "entry", "realized"))
            account.positions[market.id, kept["side"]] = Position(market, kept["side"], quantity, entry, realized)
        self._waiting = still
        return not still

    async def attached(self) -> None:
        """Until every position has its market."""
        complete = self.attach()
        while not complete:
            await asyncio.sleep(ATTACH_S)
            complete = self.attach()

    async def run(self) -> None:
        """Save what has changed, for ever."""
        while True:
            await asyncio.sleep(SAVE_S)
            self.save()

    def save(self) -> None:
        """Write the file anew if anything is different; nobody sees half of it."""
        text = orjson.dumps([_kept(account) for account in self._world.registry.by_key.values()])
        if self._waiting or text == self._saved:
            return
        partial = self._file.with_suffix(".partial")
        partial.touch(0o600)
        partial.write_bytes(text)
        partial.replace(self._file)
        self._saved = text


def _kept(account: Account) -> dict[str, Any]:
    flags = {"label": account.label, "can_withdraw": account.can_withdraw, "can_trade": account.can_trade, "hedge": account.hedge}
    settings: dict[str, Any] = {"permissions": account.permissions, "leverage": account.leverage, "margin_type": account.margin_type}
    settings |= {"multi_assets": account.multi_assets, "margin_mode": account.account_margin_mode}
    keys = {"exchange": account.exchange, "api_key": account.api_key, "secret": account.secret.decode()}
    balances = {asset: plain(held.total) for asset, held in account.balances.items()}
    positions = [_position(position) for position in account.positions.values() if position.quantity]
    return keys | flags | settings | {"balances": balances, "positions": positions}


def _position(held: Position) -> dict[str, str]:
    amounts = {"quantity": plain(held.quantity), "entry": plain(held.entry), "realized": plain(held.realized)}
    return {"venue": held.market.venue, "market": held.market.id, "side": held.side} | amounts
