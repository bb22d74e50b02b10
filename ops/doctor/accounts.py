"""Money: the vault and its master key, accounts of live followers, the simulator of paper ones, and what waits for a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
import msgspec
import psycopg

from api.control import Control
from api.dashboard.letters import read_letters
from engine.config import Settings
from engine.domain.messages import AccountChecked, Execution
from engine.errors import ConfigInvalid
from engine.executor.accounts import load_master_key, verify_vault
from engine.executor.accounts.directory import papers_of
from engine.executor.accounts.paper import paper_venue
from engine.log.pulse import newest_records
from engine.topology import DEAD, EXECUTIONS, REJECTED, SIGNALS, shard_of
from ops.commands.common import query
from ops.doctor.findings import Finding, warning

FOLLOWERS: Final = """
SELECT u.follower_key AS follower, u.preferred_exchange AS venue, u.mode, extract(epoch FROM now() - e.reported_at)::float AS age_s
FROM users AS u LEFT JOIN account_equity AS e ON e.user_id = u.id AND e.venue = u.preferred_exchange
WHERE u.follower_key IS NOT NULL AND u.copy_trading_enabled AND u.mode IN ('live', 'paper') ORDER BY u.follower_key
"""
HAS_VAULT: Final = (
    "SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'vault' AND table_name = 'credentials'"
    " AND column_name = 'kind') AS there"
)
CREDENTIALS: Final = "SELECT follower_id, venue, kind FROM vault.credentials"
FRESH_S: Final = 60.0
"""Equity that is older is not known: opens are refused."""
LOOKED_AT: Final = 50_000
"""Newest executions of a shard among which the check of an account is looked for."""
NAMED: Final = 3
SIMULATOR_WAIT_S: Final = 3.0
_DECODER: Final = msgspec.json.Decoder(Execution)
NEW_KEYS: Final = "remora vault add {follower} --venue {venue} --api-key KEY"
NEW_PAPER: Final = "remora vault add {follower} --venue {venue} --open-paper"
Row = dict[str, Any]


async def check_vault(settings: Settings) -> list[Finding]:
    """A master key is there and opens every credential."""
    [row] = await asyncio.to_thread(query, settings, HAS_VAULT)
    if not row["there"]:
        return [Finding("There is no vault for exchange credentials, or it is one of an older version.", "remora init")]
    try:
        master = load_master_key(settings)
    except ConfigInvalid as error:
        return [Finding(f"The executor cannot start: {error}.", "remora vault new-key FILE && export REMORA_MASTER_KEY_FILE=FILE")]

    def verify() -> tuple[int, list[str]]:
        with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=5) as connection:
            return verify_vault(connection, master)

    good, bad = await asyncio.to_thread(verify)
    if not bad:
        return []
    whose = f"{len(bad)} of {good + len(bad)} credentials do not open under the master key {master.fingerprint} ({_some(bad)})."
    if not good:
        return [Finding(f"{whose} It is not the key of this vault.", "export REMORA_MASTER_KEY_FILE=FILE_OF_THE_RIGHT_KEY")]
    follower, venue, *kind = bad[0].split(" ")
    return [Finding(whose, (NEW_PAPER if kind == ["paper"] else NEW_KEYS).format(follower=follower, venue=venue))]


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


async def check_accounts(settings: Settings) -> list[Finding]:
    """Each follower who trades has keys; each one in mode live has fresh equity and was allowed to trade."""
    rows = await asyncio.to_thread(query, settings, FOLLOWERS)
    beside = papers_of(settings) == "beside"
    stored = {
        (row["follower_id"], row["venue"], mode)
        for row in await asyncio.to_thread(query, settings, CREDENTIALS)
        for mode in ("live", "paper")
        if row["kind"] in ("", mode) or not beside
    }
    live = [row for row in rows if row["mode"] == "live"]
    refused = await _refused(settings, [row["follower"] for row in live]) if live else {}
    found = [finding for row in live for finding in _of_live(row, stored, refused)]
    keyless = [row for row in rows if row["mode"] == "paper" and (row["follower"], row["venue"], "paper") not in stored]
    if keyless:
        whose = _some([row["follower"] for row in keyless])
        fix = NEW_PAPER.format(**keyless[0])
        found.append(warning(f"{len(keyless)} followers in mode paper have no account ({whose}): they copy nothing.", fix))
    return found


def _of_live(row: Row, stored: set[tuple[str, str, str]], refused: dict[tuple[str, str], tuple[str, ...]]) -> Iterator[Finding]:
    follower, venue, account = row["follower"], row["venue"], (row["follower"], row["venue"])
    if (*account, "live") not in stored:
        yield Finding(f"{follower} is live on {venue} and has no keys there.", NEW_KEYS.format(**row))
    elif reasons := refused.get(account):
        hedged = reasons == ("hedge_mode",)
        fix = f"remora halt --follower {follower}" if hedged else NEW_KEYS.format(**row)
        yield Finding(f"{follower} may not trade live on {venue}: {', '.join(reasons)}.", fix)
    elif row["age_s"] is None or row["age_s"] > FRESH_S:
        age = "never reported" if row["age_s"] is None else f"{row['age_s']:.0f} s old"
        yield Finding(f"The equity of {follower} on {venue} is {age}: its opens are skipped, equity_unknown.", "remora vault check")


async def _refused(settings: Settings, followers: list[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The newest word of an executor on each account for live orders, as far as its shard's newest executions tell."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for shard in sorted({shard_of(follower, settings.partitions) for follower in followers}):
        async for records in newest_records(settings, EXECUTIONS, shard, LOOKED_AT):
            for record in records:
                if record.value and b'"AccountChecked"' in record.value:
                    checked = _DECODER.decode(record.value)
                    assert isinstance(checked, AccountChecked)
                    if checked.mode == "paper":
                        continue
                    found[checked.follower_id, checked.venue] = checked.reasons
    return found


async def check_paper(settings: Settings) -> list[Finding]:
    """Followers in mode paper have a venue to trade at."""
    rows = [row for row in await asyncio.to_thread(query, settings, FOLLOWERS) if row["mode"] == "paper"]
    url = paper_venue(settings)
    if url is None:
        if not rows:
            return []
        fix = "remora simulator --live-prices & export REMORA_PAPER_URL=http://127.0.0.1:8090"
        return [Finding(f"{len(rows)} followers are in mode paper and there is no paper venue.", fix)]
    try:
        timeout = aiohttp.ClientTimeout(total=SIMULATOR_WAIT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/api/v3/time") as answer:
            answer.raise_for_status()
    except (aiohttp.ClientError, TimeoutError):
        return [Finding(f"The simulator of paper at {url} does not answer.", "remora simulator")]
    return []


async def check_letters(settings: Settings) -> list[Finding]:
    """Records that could not be read."""
    letters = await read_letters(settings, 1)
    newest = {letter.told_by: letter for letter in letters.tail}
    found = []
    for topic, count in letters.counts.items():
        if count:
            where = f", the newest at {newest[topic].at:%Y-%m-%d %H:%M} UTC" if topic in newest else ""
            which = SIGNALS.name if topic == REJECTED.name else topic.removesuffix(".dead")
            found.append(warning(f"{count} records of {which} could not be read{where}.", _fix_letter(which)))
    return found


def _fix_letter(topic: str) -> str:
    redriven = topic in (SIGNALS.name, *list(DEAD)[:2])
    return "remora dead list" + (f" && remora dead redrive {topic} PARTITION OFFSET" if redriven else " && remora rebuild")


async def check_switches(settings: Settings) -> list[Finding]:
    """What somebody has switched off."""
    control = Control(settings)
    try:
        now = await control.now()
    finally:
        await control.close()
    found = []
    off = {key: each for key, each in now.switches.items() if each.state != "running"}
    if each := off.pop(("global", ""), None):
        found.append(
            warning(f"{each.actor or 'somebody'} has set everything to {each.state} ({each.reason or 'no reason'}).", "remora resume")
        )
    for scope, count in Counter(scope for scope, _ in off).items():
        target = next(target for found_scope, target in off if found_scope == scope)
        found.append(warning(f"{count} switches of scope {scope} are set, for example {target}.", f"remora resume --{scope} {target}"))
    if now.gate.paused or now.gate.min_priority != "low":
        state = "paused" if now.gate.paused else f"open for priority {now.gate.min_priority} only"
        found.append(warning(f"The signal queue is {state} since {now.gate.set_at:%Y-%m-%d %H:%M} UTC.", "remora queue resume"))
    return found
