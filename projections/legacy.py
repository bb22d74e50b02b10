"""Moving over from the older system: its users and follows become follower commands, its pending signals become signals.

Enters: the older database (it may be the one that our tables live in). Leaves: commands and signals on the log, each under an id that is
made from the older row's number, so that a repeat is a no-op; the older rows themselves are not touched.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from secrets import token_hex
from typing import Any, Final, cast

import psycopg
from pydantic import ValidationError

from engine.config import Settings
from engine.contracts.audit import ImportLegacy
from engine.contracts.check import RawRecord, read_follower_command
from engine.contracts.signal import WhaleSignal
from engine.domain.messages import ConfigureFollower, FollowerCommand, FollowWhale
from engine.domain.values import VENUES, FollowerSettings, FollowTerms, Venue
from engine.errors import ConfigInvalid, ContractViolation
from engine.log.codec import encode
from engine.log.publish import open_publisher
from projections.ids import IMPORTED
from projections.sql import load
from projections.staging import open_connection

ACTOR: Final = "import legacy"
DETECTOR: Final = "/remora/bridge/legacy"
TOO_OLD: Final = timedelta(hours=24)
POLL_S: Final = 0.2


@dataclass(slots=True)
class Import:
    """What an import found: commands to send (or sent), rows that are here already, rows that cannot be brought over and why."""

    commands: list[FollowerCommand] = field(default_factory=list)
    known: int = 0
    refused: list[str] = field(default_factory=list)
    sent: bool = False


@dataclass(slots=True)
class Bridge:
    """What a bridge has done: rows published, and rows that cannot be, with why. Remembers both while it runs."""

    published: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)


async def import_legacy(settings: Settings, source: str, apply: bool = False, actor: str = ACTOR) -> Import:
    """Read the older users and follows; send commands when `apply`, once the trail has `actor`. What the read models know is left out."""
    found = await asyncio.to_thread(_read, settings, source)
    if apply:
        async with open_publisher(settings) as publisher:
            if found.commands:
                told = ImportLegacy(t="ImportLegacy", request_id=token_hex(16), actor=actor, commands=len(found.commands))
                await publisher.publish_audit(told)
            for command in found.commands:
                await publisher.publish_follower_command(command)
        found.sent = True
    return found


def _read(settings: Settings, source: str) -> Import:
    found = Import()
    users, follows = _rows(source, "older_users"), _rows(source, "older_follows")
    here, followed = _known(settings)
    refused = set()
    for user in users:
        if f"{IMPORTED}{user['id']}" in here:
            found.known += 1
        elif user["preferred_exchange"] not in VENUES:
            refused.add(user["id"])
            found.refused.append(f"user {user['id']}: preferred_exchange {user['preferred_exchange']!r} is not one of {', '.join(VENUES)}")
        else:
            found.commands.append(_configure(user))
    for follow in follows:
        where = f"follow {follow['id']} of user {follow['user_id']}"
        if (f"{IMPORTED}{follow['user_id']}", str(follow["whale_id"])) in followed:
            found.known += 1
        elif follow["user_id"] in refused or not (follow["trade_size_usdt"] or follow["trade_size_percent"]):
            why = "its user is not brought over" if follow["user_id"] in refused else "it has no size"
            found.refused.append(f"{where}: {why}")
        elif why := _violation(command := _follow(follow)):
            found.refused.append(f"{where}: {why}")
        else:
            found.commands.append(command)
    return found


def _violation(command: FollowerCommand) -> str:
    """Why the log would not take a command; empty when it would. Found before the first one is sent."""
    try:
        read_follower_command(RawRecord(encode(command), command.follower_id.encode()), 0, 1)
    except ContractViolation as error:
        return str(error)
    return ""


def _rows(source: str, name: str) -> list[dict[str, Any]]:
    """Rows of the older system, numbers as Decimals; columns that a database does not have are missing. Errors: ConfigInvalid when it is
    no such database, DependencyUnreachable."""
    with open_connection(source) as connection:
        try:
            return [json.loads(row[0], parse_float=Decimal) for row in connection.execute(load("legacy.sql")[name])]
        except psycopg.errors.UndefinedTable as error:
            raise ConfigInvalid(f"This is not the older system's database: {str(error).splitlines()[0]}.") from None


def _known(settings: Settings) -> tuple[set[str], set[tuple[str, str]]]:
    with open_connection(settings.database_url.get_secret_value()) as connection:
        users = connection.execute("SELECT follower_key FROM users WHERE follower_key IS NOT NULL").fetchall()
        follows = connection.execute("SELECT follower_key, whale_key FROM user_whale_follows WHERE follower_key IS NOT NULL").fetchall()
    return {row[0] for row in users}, {(row[0], row[1]) for row in follows}


def _request_id(row: dict[str, Any]) -> str:
    """The same row gives the same request: sent twice, it counts once."""
    return "import-" + blake2b(json.dumps(row, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def _configure(user: dict[str, Any]) -> ConfigureFollower:
    settings = FollowerSettings(
        copy_trading_enabled=user["copy_trading_enabled"],
        preferred_exchange=cast("Venue", user["preferred_exchange"]),
        max_leverage=Decimal(max(1, user["max_leverage"])),
    )
    return ConfigureFollower(request_id=_request_id(user), follower_id=f"{IMPORTED}{user['id']}", settings=settings, actor=ACTOR)


def _follow(follow: dict[str, Any]) -> FollowWhale:
    """A size in USDT wins over one in percent, as it did there."""
    usdt, percent = follow["trade_size_usdt"], follow["trade_size_percent"]
    terms = FollowTerms(
        auto_copy_enabled=follow["auto_copy_enabled"],
        sizing="fixed_quote" if usdt else "percent_equity",
        trade_size_usdt=Decimal(usdt) if usdt else None,
        trade_size_percent=Decimal(percent) if percent else None,
    )
    who = {"follower_id": f"{IMPORTED}{follow['user_id']}", "whale_id": str(follow["whale_id"])}
    return FollowWhale(request_id=_request_id(follow), terms=terms, actor=ACTOR, **who)


async def bridge_legacy(settings: Settings, source: str, once: bool = False, watch: Callable[[Bridge], None] = lambda _: None) -> Bridge:
    """Publish pending rows of the older `whale_signals` as signals, for ever or `once`. The rows get their status from the projector."""
    state = Bridge()
    async with open_publisher(settings) as publisher:
        while True:
            for row in await asyncio.to_thread(_rows, source, "pending_signals"):
                if row["id"] not in state.seen:
                    state.seen.add(row["id"])
                    signal = _signal(row, state)
                    if signal is not None:
                        await publisher.publish_signal(signal, source=DETECTOR)
                        state.published += 1
            watch(state)
            if once:
                return state
            await asyncio.sleep(POLL_S)


def _signal(row: dict[str, Any], state: Bridge) -> WhaleSignal | None:
    """A row as a signal. The older schema knows no action: a buy opens, a sell closes, unless the row says more."""
    detected_at = datetime.fromisoformat(row["detected_at"]).astimezone(UTC)
    if datetime.now(UTC) - detected_at > TOO_OLD:
        state.refused[row["id"]] = "too_old: detected more than 24 h ago"
        return None
    try:
        return WhaleSignal.model_validate(
            {
                "signal_id": f"{IMPORTED}{row['id']}",
                "whale_id": str(row["whale_id"]),
                "symbol": row["symbol"],
                "trade_type": "futures" if ":" in row["symbol"] else "spot",
                "action": row.get("action") or ("open" if row["side"] == "buy" else "close"),
                "side": row["side"],
                "quantity": _amount(row["amount"]),
                "price": _amount(row["price"]),
                "priority": row.get("priority") or "medium",
                "source": row.get("source") or "whale",
                "detected_at": detected_at.isoformat(),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        state.refused[row["id"]] = f"{'.'.join(map(str, first['loc'])) or 'signal'}: {first['msg']}"
        return None


def _amount(value: Any) -> str | None:
    """Without the zeros that fill up the older column."""
    return None if value is None else f"{Decimal(value).normalize():f}"
