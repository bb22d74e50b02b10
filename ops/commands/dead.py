"""`remora dead list | redrive`: records that could not be read, and sending one again once the reason is gone.

Enters: `whale.signals.rejected.v1` and the `<topic>.dead` topics. Leaves: rows; with `redrive` the original record at its topic's end.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from api.dashboard.letters import read_letters
from engine.config import Settings, load_settings
from engine.contracts.audit import RedriveRecord
from engine.errors import ConfigInvalid
from engine.log.consume import bounds, open_consumer, read_range
from engine.log.publish import Published, open_publisher
from engine.topology import CONTROL, FOLLOWER_COMMANDS, SIGNALS, Topic
from ops.commands.common import Json, asked, emit, emit_rows

app = typer.Typer(help="Records that could not be read.", no_args_is_help=True)
REDRIVEN: Final[dict[str, Topic]] = {topic.name: topic for topic in (SIGNALS, FOLLOWER_COMMANDS, CONTROL)}
"""Topics that others write to. What engine and executor wrote has its place in the log: `remora rebuild` projects it again."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many of each topic, the newest.")] = 100, json: Json = False
) -> None:
    """The newest records that could not be read: where they lie, which field was wrong, what was expected."""
    letters = asyncio.run(read_letters(load_settings(), limit))
    emit_rows([asdict(letter) for letter in letters.tail], json)


@app.command()
def redrive(
    topic: Annotated[str, typer.Argument(help=f"Where the record lies: {', '.join(REDRIVEN)}.")],
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0)],
    json: Json = False,
) -> None:
    """Send a record again as it is, to the end of its topic. A signal keeps its id: what was copied meanwhile is not copied twice."""
    if topic not in REDRIVEN:
        raise typer.BadParameter(f"{topic!r} is not one of {', '.join(REDRIVEN)}")
    emit(asdict(asyncio.run(send_again(load_settings(), REDRIVEN[topic], partition, offset))), json)


async def send_again(settings: Settings, topic: Topic, partition: int, offset: int) -> Published:
    """Key, headers and value once more, once the trail has it. Errors: ConfigInvalid: none lies there, DependencyUnreachable."""
    record = await _record(settings, topic, partition, offset)
    async with open_publisher(settings) as publisher:
        await publisher.publish_audit(asked(RedriveRecord, topic=topic.name, partition=partition, offset=offset))
        return await (await publisher.send_raw(topic, record.value, partition, record.key, record.headers))


async def _record(settings: Settings, topic: Topic, partition: int, offset: int) -> Any:
    name = settings.topic(topic)
    async with open_consumer(settings) as consumer:
        first, end = await bounds(consumer, name, partition)
        if first <= offset < end:
            async for records in read_range(consumer, name, partition, offset, offset + 1):
                return records[0]
    raise ConfigInvalid(f"{name}[{partition}] holds offsets {first} to {end - 1}: there is no {offset}.")
