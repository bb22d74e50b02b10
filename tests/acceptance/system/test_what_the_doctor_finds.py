"""`remora doctor` on the running system: nothing is wrong; then something is, and it says what and how to mend it."""

from __future__ import annotations

import aiohttp
import psycopg
from pydantic import SecretStr

from engine.domain.messages import ConfigureFollower, SetGate
from engine.domain.values import FollowerSettings
from engine.executor.accounts import add_credential, load_master_key
from engine.log.publish import open_publisher
from engine.topology import SIGNALS
from ops.doctor.accounts import check_accounts, check_letters, check_switches
from ops.doctor.findings import Finding
from ops.doctor.run import examine
from tests.acceptance.system.whales import new_whale
from tests.support import wait_until
from tests.system import System

LEFT_BY_OTHERS = {"switches", "unread records", "accounts"}


async def test_a_system_that_works_is_found_well(system: System) -> None:
    answers = {answer.check: answer async for answer in examine(system.settings)}
    assert {name: answer for name, answer in answers.items() if answer.status != "ok" and name not in LEFT_BY_OTHERS} == {}
    told = system.remora("doctor")
    assert told["ok"] and [check["check"] for check in told["checks"]] == list(answers)


async def test_what_waits_for_a_person(system: System) -> None:
    async with open_publisher(system.settings) as publisher:
        await (await publisher.send_raw(SIGNALS, b"not a signal", 0))
        await publisher.publish_control(SetGate(request_id="doctor-1", paused=True, actor="doctor"))
        try:

            async def unread() -> Finding | None:
                return next((found for found in await check_letters(system.settings) if SIGNALS.name in found.text), None)

            letter = await wait_until(unread)
            assert isinstance(letter, Finding) and letter.severity == "warning" and letter.fix.startswith("remora dead list")
            [gate] = [found for found in await check_switches(system.settings) if "queue is paused" in found.text]
            assert gate.fix == "remora queue resume"
        finally:
            await publisher.publish_control(SetGate(request_id="doctor-2", actor="doctor"))


async def withdrawing_keys(system: System, follower: str) -> None:
    """New keys for the follower's account, which may withdraw."""
    account = {"api_key": f"w-{follower}", "secret": "s", "venue": "binance", "usdt": "1000", "can_withdraw": True}
    async with aiohttp.ClientSession(system.simulator_url) as session, session.post("/_accounts", json={"accounts": [account]}) as answer:
        answer.raise_for_status()
    with psycopg.connect(system.settings.database_url.get_secret_value()) as connection:
        master = load_master_key(system.settings)
        add_credential(connection, master, follower, "binance", SecretStr(f"w-{follower}"), SecretStr("s"))


async def test_a_live_follower_who_may_not_trade(system: System) -> None:
    """Keys that may withdraw are refused by the executor; then there are none at all."""
    whale = new_whale(system)
    name = await whale.gets_follower(settings=FollowerSettings(preferred_exchange="binance", mode="live"))
    async with open_publisher(system.settings) as publisher:

        async def said() -> list[str]:
            return [found.text for found in await check_accounts(system.settings) if name in found.text]

        assert await said() == []
        await withdrawing_keys(system, name)
        await wait_until(said)
        assert await said() == [f"{name} may not trade live on binance: key_can_withdraw."]
        away = FollowerSettings(preferred_exchange="bybit", mode="live")
        await publisher.publish_follower_command(ConfigureFollower(request_id=f"{name}-2", follower_id=name, settings=away, actor="doctor"))
        keyless = [f"{name} is live on bybit and has no keys there."]

        async def moved() -> bool:
            return await said() == keyless

        await wait_until(moved)
        off = FollowerSettings(preferred_exchange="binance", copy_trading_enabled=False)
        await publisher.publish_follower_command(ConfigureFollower(request_id=f"{name}-3", follower_id=name, settings=off, actor="doctor"))

        async def silent() -> bool:
            return not await said()

        await wait_until(silent)
