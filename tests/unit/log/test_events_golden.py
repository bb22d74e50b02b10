"""Every version of every event that was ever written can be read, and is written as before.

A changed event gets a new tag and an upcaster, and the old golden file stays: its bytes are in logs for ever. A field that is only added,
and left out where it is not set, keeps the tag: a file `TAG+FIELD.json` with it lies beside the old one.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.domain.events import RoundCommitted, ShardClaimed
from engine.log.codec import decode_claim, decode_event, decode_marker, encode
from engine.log.upcasts import UPCASTS
from tests.unit.log.samples import STORED, sample

GOLDEN = Path(__file__).parents[2] / "golden" / "events"
DECODE = {RoundCommitted: decode_marker, ShardClaimed: decode_claim}


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.__struct_config__.tag)
def test_an_event_is_written_as_its_golden_file_says(kind: type[msgspec.Struct]) -> None:
    tag = kind.__struct_config__.tag
    file = max(GOLDEN.glob(f"{tag}+*.json"), default=GOLDEN / f"{tag}.json")
    assert file.exists(), f"{file.name} is missing: write encode(sample({kind.__name__})) to it"
    value = sample(kind)
    assert encode(value) == file.read_bytes(), "the event has changed: give it a new tag, an upcaster and a new golden file"
    assert DECODE.get(kind, decode_event)(file.read_bytes()) == value


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda file: file.stem)
def test_every_version_can_be_read(file: Path) -> None:
    value = file.read_bytes()
    tag = msgspec.json.decode(value)["t"]
    assert tag == file.stem.split("+")[0]
    known = {kind.__struct_config__.tag: kind for kind in STORED}
    assert tag in known or tag in UPCASTS
    event = DECODE.get(known.get(tag), decode_event)(value)  # type: ignore[arg-type]
    assert tag not in known or encode(event) == value, "what was left out is left out again"
