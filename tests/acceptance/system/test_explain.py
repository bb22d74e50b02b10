"""`remora explain` on the running system: the decision with its numbers, the version of the settings, the reason, the orders."""

from __future__ import annotations

import json
import re
import uuid
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.messages import FollowWhale
from engine.domain.values import FollowTerms, Limits
from engine.errors import ConfigInvalid
from engine.log.publish import open_publisher
from engine.topology import EXECUTIONS
from ops.explain import decisions_of, story_of
from ops.explain_text import lines
from projections.words import SENTENCES, number
from tests.acceptance.system.whales import TERMS, Whale, new_whale
from tests.oracle.opening import REASONS
from tests.support import wait_until
from tests.system import System, read_records

CAPPED = FollowTerms(sizing="multiplier", multiplier=Decimal("0.5"), start_mode="now", limits=Limits(max_position_quote=Decimal(200)))
VERSION = "SELECT 1 FROM user_whale_follows WHERE follower_key = %(follower)s AND config_version = %(version)s"


@pytest.fixture(scope="package")
async def whale(system: System) -> Whale:
    """A whale that opens, increases too late, sells two thirds, and closes, with a plain, a poor and a capped follower."""
    made = new_whale(system)
    for terms in (TERMS, replace_size(TERMS, 1), CAPPED):
        await made.gets_follower(terms=terms)
    for signal in (made.trade(2), made.trade(3, age_s=100), made.trade(1), made.trade(0)):
        await made.publish(signal)
        await system.signal_when(signal.signal_id, "PROCESSED", "EXPIRED")
    return made


def replace_size(terms: FollowTerms, quote: int) -> FollowTerms:
    """The same terms with another size."""
    return FollowTerms(sizing=terms.sizing, trade_size_usdt=Decimal(quote), start_mode=terms.start_mode)


def told(system: System, *subject: str) -> list[str]:
    """What the command prints."""
    return list(lines(decisions_of(system.settings, subject[0], subject[1] if len(subject) > 1 else None)))


async def test_explain_a_signal(system: System, whale: Whale) -> None:
    text = told(system, f"{whale.name}-1")
    assert text[0] == f"{whale.name}-1: whale {whale.name} open ETH/USDC:USDC, buy 2 at 3000"
    assert text[1:3] == ["  the whale's position: 0 to 2", "  PROCESSED, priority medium"]
    assert text[4] == "  3 decisions: 1 copied, 1 skipped below_minimum, 1 reduced"
    assert f"  {whale.name}-f0: copied on binanceusdm ETH/USDT:USDT; settings version 2, shard" in "\n".join(text)
    # A mark stands among the inputs when the venue's price happened to be read after the whale's trade.
    sizing = re.compile(r"    fixed_quote \((mark [\d.]+, )?price 3000, trade_size_usdt 300\): wanted 300 quote, got 300 quote = 0\.1")
    assert any(map(sizing.fullmatch, text)), text
    assert "skipped, below_minimum: 1 is less than" in "\n".join(text)
    assert "    cut by follow_max_position from 3000 to 200 quote" in text
    order = next(line for line in text if " open buy 0.1: filled, 0.1 at " in line)
    assert all(f"{stage} +" in order for stage in ("decided", "attempted", "acknowledged", "settled")) and " bps, fee quote " in order


async def test_explain_says_how_late_and_which_part(system: System, whale: Whale) -> None:
    late = "\n".join(told(system, f"{whale.name}-2"))
    assert "EXPIRED" in late and "published" in late and " s after it was detected" in late
    assert late.count("skipped, signal_expired: the signal was over at 20") == 3 and ", decided 4" in late
    part = "\n".join(told(system, f"{whale.name}-3", f"{whale.name}-f0"))
    assert "fraction 0.666666666667" in part and "filled 0.1" in part and "got 198 quote = 0.066" in part
    assert f"{whale.name}-f2" not in part


async def test_explain_an_order_and_a_stranger(system: System, whale: Whale) -> None:
    story = system.remora("explain", f"{whale.name}-1", f"{whale.name}-f0")
    (decision,) = story["decisions"]
    assert (decision["outcome"], decision["config_version"], len(decision["orders"])) == ("copied", 2, 1)
    [order], command = decision["orders"], decision["orders"][0]["command_key"]
    places = order["executions"]
    written = await read_records(system.settings, EXECUTIONS, places["partition"])
    named = {name: json.loads(written[places[name]].value or b"") for name in ("attempted", "settled")}
    assert (named["attempted"]["order"]["command_id"], named["settled"]["command_id"]) == (command, command) and places["unknown"] is None
    text = "\n".join(lines(await story_of(system.settings, f"{whale.name}-1", f"{whale.name}-f0")))
    assert f", trade.executions partition {places['partition']}: attempted at offset {places['attempted']}, settled at offset" in text
    by_order = told(system, decision["orders"][0]["command_key"], f"{whale.name}-f0")
    assert by_order == told(system, f"{whale.name}-1", f"{whale.name}-f0")
    assert told(system, f"{whale.name}-1", "nobody")[-1].startswith(f"  nobody did not follow {whale.name} then")
    with pytest.raises(ConfigInvalid):
        decisions_of(system.settings, "no-such-signal", None)


async def test_explain_tells_that_the_settings_changed(system: System, whale: Whale) -> None:
    follower = f"{whale.name}-f1"
    async with open_publisher(system.settings, "test") as publisher:
        await publisher.publish_follower_command(
            FollowWhale(request_id=uuid.uuid4().hex, follower_id=follower, whale_id=whale.name, terms=TERMS)
        )
    await wait_until(lambda: system.rows(VERSION, follower=follower, version=3), what="the new terms are known")
    assert "settings version 2 (now 3)" in "\n".join(told(system, f"{whale.name}-1", follower))


def test_every_reason_has_words() -> None:
    assert SENTENCES.keys() | {"below_minimum"} == REASONS


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0E-9", "0"), ("2.000000", "2"), ("0.66666666666666666667", "0.666666666667"), ("31070", "31070"), ("1e6", "1000000")],
)
def test_numbers_are_plain(amount: Any, text: str) -> None:
    assert number(Decimal(amount)) == text
