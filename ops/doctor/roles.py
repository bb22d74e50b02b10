"""The processes: who shares the work of each role, how far each is, and whether the clocks agree."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import aiohttp

from engine.config import Settings
from engine.domain.values import VENUES, Venue
from engine.log.pulse import Head, heads, members, tick_skew_ms
from engine.topology import EVENTS, INBOX, TRADE_COMMANDS, Topic
from ops.commands.common import query
from ops.doctor.findings import Finding, warning

QUIET_S: Final = 15.0
"""A shard with something to decide writes a marker oftener than this."""
LATE_S: Final = 30.0
SKEW_MS: Final = 1000
TICK_WAIT_S: Final = 4.0
API_WAIT_S: Final = 5.0
SET_CLOCK: Final = "sudo chronyc makestep"
HOSTS: Final[dict[Venue, str]] = {
    "binance": "api.binance.com/api/v3/time",
    "binanceusdm": "fapi.binance.com/fapi/v1/time",
    "bybit": "api.bybit.com/v5/market/time",
    "bybitlinear": "api.bybit.com/v5/market/time",
}
PROJECTED: Final = """
SELECT partition, notification_id AS position, end_offset, lag_seconds::float AS lag_seconds,
       extract(epoch FROM now() - checked_at)::float AS silent_s
FROM projection_positions WHERE topic = %(topic)s ORDER BY partition
"""
CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())::float AS now"
USED: Final = "SELECT DISTINCT preferred_exchange AS venue FROM users WHERE follower_key IS NOT NULL AND copy_trading_enabled"


async def check_sequencer(settings: Settings) -> list[Finding]:
    """Somebody sequences, time passes for the shards, and the broker's clock, which stamps it, is right."""
    there = await members(settings, "sequencer")
    if not there:
        return [Finding("No sequencer runs: signals and outcomes reach no shard.", "remora sequencer")]
    wait_s = settings.tick_ms / 1000 + TICK_WAIT_S
    skew_ms = await tick_skew_ms(settings, wait_s)
    if skew_ms is None:
        names = ", ".join(member.client_id for member in there)
        return [Finding(f"A sequencer is there ({names}), but nothing reached the inbox for {wait_s:.0f} s.", "remora sequencer")]
    return skewed("the broker", skew_ms)


async def check_engine(settings: Settings) -> list[Finding]:
    """Every shard has an engine that keeps up."""
    if found := await _without_owner(settings, "engine", INBOX):
        return found
    now = time.time() * 1000
    return [found for head in await heads(settings) for found in late_shard(head, now)]


def late_shard(head: Head, now_ms: float) -> list[Finding]:
    """A shard that has something to decide and has decided nothing for a while."""
    quiet_s = (now_ms - head.alive_ms) / 1000 if head.alive_ms is not None else None
    if not head.behind or (quiet_s is not None and quiet_s < QUIET_S):
        return []
    since = "no round near the end of its log" if quiet_s is None else f"no round for {quiet_s:.0f} s"
    return [Finding(f"Shard {head.shard} of {head.owner or 'nobody'} is {head.behind} records behind, with {since}.", "remora engine")]


async def check_executor(settings: Settings) -> list[Finding]:
    """Every shard has an executor."""
    return await _without_owner(settings, "executor", TRADE_COMMANDS)


async def _without_owner(settings: Settings, role: str, topic: Topic) -> list[Finding]:
    there = await members(settings, role)
    owned = sum(member.partitions.get(settings.topic(topic), 0) for member in there)
    if not there:
        return [Finding(f"No {role} runs.", f"remora {role}")]
    if owned < settings.partitions:
        return [
            Finding(f"{settings.partitions - owned} of {settings.partitions} shards have no {role} now (a rebalance?).", "remora doctor")
        ]
    return []


async def check_projector(settings: Settings) -> list[Finding]:
    """Every partition of the events is looked after, and the tables are fresh."""
    rows = {row["partition"]: row for row in await asyncio.to_thread(query, settings, PROJECTED, topic=settings.topic(EVENTS))}
    found = []
    for partition in range(settings.partitions):
        row = rows.get(partition)
        if row is None or row["silent_s"] is None or row["silent_s"] > QUIET_S:
            since = "never" if row is None or row["silent_s"] is None else f"not for {row['silent_s']:.0f} s"
            found.append(Finding(f"Partition {partition} of the events was {since} looked at by a projector.", "remora projector"))
        elif row["lag_seconds"] and row["lag_seconds"] > LATE_S:
            behind = (row["end_offset"] or 0) - (row["position"] or 0)
            found.append(
                Finding(f"The tables are {row['lag_seconds']:.0f} s ({behind} records) behind in partition {partition}.", "remora status")
            )
    return found


async def check_api(settings: Settings) -> list[Finding]:
    """The API answers and calls itself ready."""
    url = f"http://{settings.api_host}:{settings.api_port}/readyz"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=API_WAIT_S)) as session,
            session.get(url) as answer,
        ):
            if answer.status == 200:
                return []
            return [warning(f"The API at {url} is not ready ({answer.status}): {(await answer.text())[:120]}", "remora status")]
    except (aiohttp.ClientError, TimeoutError):
        return [warning(f"No API answers at {url}.", "remora api")]


async def check_clocks(settings: Settings) -> list[Finding]:
    """Our clock beside Postgres's and each venue's that is traded on. The broker's is seen by the ticks, see `check_sequencer`."""
    return skewed("Postgres", await _database_skew_ms(settings)) + await _venue_clocks(settings)


def skewed(whose: str, ahead_ms: float, most_ms: int = SKEW_MS) -> list[Finding]:
    """A clock that differs from ours by too much."""
    if abs(ahead_ms) <= most_ms:
        return []
    return [Finding(f"The clock of {whose} is {abs(ahead_ms) / 1000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'} ours.", SET_CLOCK)]


async def _database_skew_ms(settings: Settings) -> float:
    before = time.time()
    [row] = await asyncio.to_thread(query, settings, CLOCK)
    # The time of connecting is in it: what lies between before and after agrees.
    now = min(max(row["now"], before), time.time())
    return float((row["now"] - now) * 1000)


async def _venue_clocks(settings: Settings) -> list[Finding]:
    from engine.exchanges.port import CallFailed
    from engine.exchanges.session import open_net
    from engine.exchanges.venues import clock_offset_ms

    used = {row["venue"] for row in await asyncio.to_thread(query, settings, USED)}
    net, found = open_net(settings), []
    try:
        for venue in (venue for venue in VENUES if venue in used):
            try:
                offset = await clock_offset_ms(net, venue)
            except CallFailed as error:
                found.append(_silent(settings, venue, error))
                continue
            found += skewed(f"{venue} (orders will be refused)", -offset, min(SKEW_MS, settings.recv_window_ms // 2))
    finally:
        await net.close()
    return found


def _silent(settings: Settings, venue: Venue, error: Exception) -> Finding:
    if settings.exchange_url:
        return Finding(f"{venue} at {settings.exchange_url} does not answer: {error}", "remora simulator")
    return Finding(f"{venue} does not answer: {error}", f"curl -v https://{HOSTS[venue]}")
