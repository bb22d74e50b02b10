"""The administrator's endpoints, outside every venue: accounts, prices, ledger, requests, faults, clock. JSON in, JSON out."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from engine.exchanges.simulator import accounts, faults, funding
from engine.exchanges.simulator.dispatch import Dispatcher
from engine.exchanges.simulator.faults import FaultPlan
from engine.exchanges.simulator.listings import market_from
from engine.exchanges.simulator.markets import whale_price
from engine.exchanges.simulator.model import plain
from engine.exchanges.simulator.wire import Reply
from engine.exchanges.simulator.world import World

_ALL: Final = 1 << 62


class Admin:
    """Answers `/_...` requests. A wrong request is a 400 with one sentence."""

    def __init__(self, world: World, dispatcher: Dispatcher, plan: FaultPlan) -> None:
        self._world, self._dispatcher, self._plan = world, dispatcher, plan

    def handle(self, method: str, path: str, query: str, body: bytes) -> Reply:
        """One administrator request."""
        act = {
            ("POST", "/_accounts"): self._register,
            ("GET", "/_accounts"): self._accounts,
            ("POST", "/_price"): self._price,
            ("GET", "/_price"): self._prices,
            ("GET", "/_ledger"): self._ledger,
            ("GET", "/_requests"): self._requests,
            ("POST", "/_faults"): self._set_faults,
            ("GET", "/_faults"): self._faults,
            ("POST", "/_clock"): self._clock,
            ("POST", "/_markets"): self._markets,
            ("POST", "/_funding"): self._funding,
        }.get((method, path))
        if act is None:
            return Reply({"error": f"no such endpoint: {method} {path}"}, 404)
        try:
            document = orjson.loads(body) if body else {}
            return Reply(act(dict(parse_qsl(query)), document))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
            return Reply({"error": f"{type(error).__name__}: {error}"}, 400)

    def _register(self, query: dict[str, str], document: Any) -> Any:
        """`{"accounts": [...]}` or one account: register API keys."""
        specs = document.get("accounts", [document])
        registered = [self._world.registry.register(spec) for spec in specs]
        return {"accounts": [{"exchange": a.exchange, "api_key": a.api_key, "uid": a.uid} for a in registered]}

    def _accounts(self, query: dict[str, str], document: Any) -> Any:
        """Balances and positions of all accounts, or of `?api_key=`."""
        wanted = query.get("api_key")
        held = [a for a in self._world.registry.by_key.values() if wanted in (None, a.api_key)]
        return {"accounts": [accounts.describe(account, self._world.prices) for account in held]}

    def _price(self, query: dict[str, str], document: Any) -> Any:
        """`{"prices": [{"symbol", "price", "venue"?}]}` or one of them: drive the path. A symbol is the whale's market, or with `venue`
        the venue's; unmapped ones are named in the reply."""
        moved, unmapped = [], []
        for item in document.get("prices", [document]):
            found = self._coin(str(item["symbol"]), item.get("venue"), Decimal(str(item["price"])))
            if found is None:
                unmapped.append(str(item["symbol"]))
            else:
                self._world.prices.set(*found)
                moved.append(found[0])
        self._world.engine.moved(dict.fromkeys(moved))
        return {"moved": len(moved), "unmapped": unmapped}

    def _coin(self, symbol: str, venue: str | None, price: Decimal) -> tuple[str, Decimal] | None:
        if not price.is_finite() or price <= 0:
            raise ValueError(f"price of {symbol}: got {price}, expected a positive number")
        if venue is None:
            return whale_price(self._world.markets, symbol, price)
        for market in self._world.markets[venue].values():
            if symbol in (market.symbol, market.id):
                return market.coin, price / market.price_factor
        return None

    def _prices(self, query: dict[str, str], document: Any) -> Any:
        """The venue's mids: `?venue=`, or all venues."""
        wanted = query.get("venue")
        return {
            venue: {market.symbol: plain(self._world.prices.mid(market)) for market in listed.values()}
            for venue, listed in self._world.markets.items()
            if wanted in (None, venue)
        }

    def _ledger(self, query: dict[str, str], document: Any) -> Any:
        """Entries (`?after=&limit=` pages, `next` is null at the end) and, unless `?accounts=0`, accounts."""
        entries, following = self._world.ledger.page(int(query.get("after", 0)), int(query.get("limit", _ALL)))
        reply = {"entries": entries, "next": following, "count": len(self._world.ledger.entries)} | self._arrivals()
        return reply if query.get("accounts") == "0" else reply | self._accounts({}, None)

    def _arrivals(self) -> dict[str, Any]:
        ledger = self._world.ledger
        first, last = ledger.first_received_us, ledger.last_received_us
        return {"orders_received": ledger.orders_received, "first_received_us": first, "last_received_us": last}

    def _requests(self, query: dict[str, str], document: Any) -> Any:
        """Requests by `exchange METHOD path`, and when the first and last order request arrived."""
        return {"requests": dict(self._dispatcher.requests), "total": self._dispatcher.requests.total()} | self._arrivals()

    def _set_faults(self, query: dict[str, str], document: Any) -> Any:
        """Change the fault plan; `{"action": "restart"}` makes Bybit forget closed orders in realtime now."""
        if document.get("action") == "restart":
            for account in self._world.registry.by_key.values():
                account.realtime_from_ms = self._world.clock.now_ms() + 1
            self._plan.applied["realtime_cleared"] += 1
        faults.configure(self._plan, {name: value for name, value in document.items() if name != "action"})
        return self._faults(query, document)

    def _faults(self, query: dict[str, str], document: Any) -> Any:
        """How often each fault was really applied, by kind; what is still scripted."""
        return {"applied": dict(self._plan.applied), "rules": len(self._plan.rules), "rate": self._plan.rate, "rates": self._plan.rates}

    def _markets(self, query: dict[str, str], document: Any) -> Any:
        """`{"venue", "info": [...], "price"?}`: list the venue's own records (verbatim in its exchange information) instead of ours; coins
        that the path does not know start at `price` (1)."""
        venue, world = str(document["venue"]), self._world
        listed = {market.id: market for market in (market_from(venue, raw) for raw in document["info"])}
        for market in listed.values():
            world.prices.add(market.coin, Decimal(str(document.get("price", "1"))))
        world.markets[venue].clear()
        world.markets[venue].update(listed)
        return {"venue": venue, "markets": len(listed)}

    def _funding(self, query: dict[str, str], document: Any) -> Any:
        """`{"venue", "symbol", "rate"}`: settle funding of one perpetual market now; longs pay a positive rate."""
        listed = self._world.markets[str(document["venue"])].values()
        market = next((m for m in listed if str(document["symbol"]) in (m.symbol, m.id) and not m.is_spot), None)
        if market is None:
            raise ValueError(f"symbol: got {document['symbol']!r}, expected a perpetual market of the venue")
        return {"settled": funding.pay(self._world, market, Decimal(str(document["rate"])))}

    def _clock(self, query: dict[str, str], document: Any) -> Any:
        """`{"offset_ms": n}`: shift the exchange's clock."""
        self._world.clock.offset_ms = int(document["offset_ms"])
        return {"offset_ms": self._world.clock.offset_ms, "now_ms": self._world.clock.now_ms()}
