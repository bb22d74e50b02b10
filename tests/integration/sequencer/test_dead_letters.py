"""Records that could not be read are listed with what was wrong, and can be sent again as they were."""

from __future__ import annotations

import getpass
import json

import pytest

from api.dashboard.letters import Letter, read_letters
from engine.config import Settings
from engine.errors import ConfigInvalid
from engine.log.consume import open_consumer, read_range
from engine.log.publish import Publisher
from engine.topology import CONTROL, SIGNALS
from ops.commands.dead import send_again
from tests.integration.sequencer.conftest import Child
from tests.support import wait_until


async def test_a_bad_signal_is_listed_and_sent_again(made: Settings, publisher: Publisher, child: Child) -> None:
    child.start()
    sent = await (await publisher.send_raw(SIGNALS, b'{"signal_id": 7}', 2, b"atlas", [("ce_type", b"none")]))
    place = f"{sent.topic} [2] @ {sent.offset}"

    async def letters() -> list[Letter]:
        return (await read_letters(made)).tail

    await wait_until(letters, what="the signal is rejected")
    [letter] = await letters()
    assert (letter.told_by, letter.place, letter.payload) == ("whale.signals.rejected.v1", place, '{"signal_id": 7}')
    assert letter.field
    assert letter.expected
    again = await send_again(made, SIGNALS, 2, sent.offset)
    assert (again.partition, again.offset) == (2, sent.offset + 1)
    async with open_consumer(made) as consumer:
        async for records in read_range(consumer, again.topic, 2, sent.offset, again.offset + 1):
            first, second = records
        [noted] = [
            json.loads(record.value or b"") async for batch in read_range(consumer, made.topic(CONTROL), 0, 0, 1) for record in batch
        ]
    assert (first.key, first.value, first.headers) == (second.key, second.value, second.headers)
    told = {"t": "RedriveRecord", "actor": getpass.getuser(), "topic": SIGNALS.name, "partition": 2, "offset": sent.offset}
    assert noted | told == noted


async def test_nothing_lies_there(made: Settings) -> None:
    with pytest.raises(ConfigInvalid, match=r"\[0\] holds offsets 0 to -1: there is no 5\."):
        await send_again(made, SIGNALS, 0, 5)
