"""Accounts: what an administrator registers enters, accounts by (exchange, API key) leave."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from engine.exchanges.simulator import margin
from engine.exchanges.simulator.model import Account, Balance, plain
from engine.exchanges.simulator.prices import PricePath

EXCHANGE_OF: Final = {"binance": "binance", "binanceusdm": "binanceusdm", "bybit": "bybit", "bybitlinear": "bybit"}
"""Venue to the exchange that keeps the account: Bybit spot and linear share one unified account."""


class Registry:
    """All accounts. Registering a known key again changes nothing unless `reset` is asked."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str], Account] = {}
        self._uid = 100_000_000

    def register(self, spec: dict[str, Any]) -> Account:
        """`{api_key, secret, venue, usdt?, balances?, label?, can_withdraw?, can_trade?, hedge?, multi_assets?, margin_mode?, leverage?,
        reset?}`; ValueError names what is wrong."""
        exchange = EXCHANGE_OF.get(str(spec.get("venue")))
        if exchange is None:
            raise ValueError(f"venue: got {spec.get('venue')!r}, expected one of {', '.join(EXCHANGE_OF)}")
        if not spec.get("api_key") or not spec.get("secret"):
            raise ValueError("api_key and secret: expected both")
        key = (exchange, str(spec["api_key"]))
        if key in self.by_key and not spec.get("reset"):
            return self.by_key[key]
        self._uid += 1
        account = Account(exchange, key[1], str(spec["secret"]).encode(), self._uid, str(spec.get("label", "")))
        self.by_key[key] = account
        return configure(account, spec)


def configure(account: Account, spec: dict[str, Any]) -> Account:
    """Set money and flags of an account from an administrator's words."""
    account.can_withdraw = bool(spec.get("can_withdraw", False))
    account.can_trade = bool(spec.get("can_trade", True))
    account.hedge = bool(spec.get("hedge", False))
    account.multi_assets = bool(spec.get("multi_assets", False))
    account.account_margin_mode = str(spec.get("margin_mode", "REGULAR_MARGIN"))
    account.permissions = tuple(spec.get("permissions", ()))
    amounts = {"USDT": spec.get("usdt", "10000")} | dict(spec.get("balances", {}))
    account.balances = {asset: Balance(Decimal(str(amount))) for asset, amount in amounts.items()}
    account.leverage = {str(market): int(value) for market, value in dict(spec.get("leverage", {})).items()}
    return account


def describe(account: Account, prices: PricePath) -> dict[str, Any]:
    """Balances, equity and positions of an account as JSON with exact decimal strings."""
    wallet, profit = account.balance(margin.QUOTE), margin.total_unrealised(account, prices)
    return {
        "exchange": account.exchange,
        "api_key": account.api_key,
        "label": account.label,
        "can_withdraw": account.can_withdraw,
        "can_trade": account.can_trade,
        "hedge": account.hedge,
        "equity_usdt": plain(wallet.total + profit),
        "balances": {
            asset: {"free": plain(held.free), "locked": plain(held.locked), "total": plain(held.total)}
            for asset, held in account.balances.items()
        },
        "positions": [
            {
                "venue": held.market.venue,
                "symbol": held.market.symbol,
                "side": held.side,
                "quantity": plain(held.quantity),
                "entry": plain(held.entry),
                "realized": plain(held.realized),
            }
            for held in account.positions.values()
            if held.quantity
        ],
        "open_orders": len(account.open_orders),
    }
