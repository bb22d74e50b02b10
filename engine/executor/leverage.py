"""Leverage: changed before an open, only when the account is flat on the symbol and only when it differs.

Enters: the order's leverage, what the account last reported. Leaves: ACCEPTED when the order may go. Margin and position mode are never
changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from engine.domain.messages import PlaceOrder
from engine.domain.values import Venue
from engine.exchanges.port import AccountView, CallFailed, Credential, Exchange, Judgement, Verdict
from engine.executor.jobs import Account

REMEMBERED: Final = 50_000
_KEEP: Final = Judgement(Verdict.ACCEPTED)


class LeverageBook:
    """What leverage each account and symbol is known to have; other keys may be another account's."""

    def __init__(self, exchanges: dict[Venue, Exchange], view: Callable[[Account], AccountView | None]) -> None:
        self._exchanges, self._view = exchanges, view
        self._known: OrderedDict[tuple[Account, int, str], Decimal] = OrderedDict()

    async def prepare(self, account: Account, keys: Credential, order: PlaceOrder) -> Judgement:
        """Bring the leverage to the order's, if that may be done."""
        key = (account, keys.version, order.symbol)
        if self._known.get(key) == order.leverage:
            return _KEEP
        exchange = self._exchanges[order.venue]
        view = self._view(account)
        if view is None:
            try:
                view = await exchange.account(keys, {})
            except CallFailed as error:
                return error.judgement
        if view.position(order.symbol):
            return _KEEP
        verdict = await exchange.set_leverage(keys, order.symbol, order.leverage)
        if verdict.verdict is Verdict.ACCEPTED:
            self._known[key] = order.leverage
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return verdict
