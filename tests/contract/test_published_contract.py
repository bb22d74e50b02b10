"""The published contract is what the models say, and it is valid JSON Schema and AsyncAPI."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic_asyncapi.v3 import AsyncAPI

from engine.contracts.export import FOLDER, contract_documents, export_contract


@pytest.mark.parametrize("name", sorted(contract_documents()))
def test_committed_file_is_generated(name: str) -> None:
    assert (FOLDER / name).read_text() == contract_documents()[name], "python -m engine.contracts.export"


@pytest.mark.parametrize("name", [name for name in contract_documents() if name.endswith(".schema.json")])
def test_schemas_are_valid_and_closed(name: str) -> None:
    schema = json.loads(contract_documents()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [schema, *schema.get("$defs", {}).values()]
    assert all(node["additionalProperties"] is False for node in objects if node.get("type") == "object")


def test_no_amount_may_be_a_number() -> None:
    assert '"number"' not in "".join(contract_documents().values())


def test_asyncapi_is_valid_and_its_references_exist() -> None:
    document = json.loads(contract_documents()["asyncapi.json"])
    messages = document["components"]["messages"].values()
    keys = [message.pop("bindings")["kafka"]["key"]["description"] for message in messages if "bindings" in message]
    assert keys == ["whale_id", "follower_id"]
    # The typed model knows no Kafka key binding of messages, which AsyncAPI has; the rest must fit.
    AsyncAPI.model_validate(document)
    payloads = [message["payload"]["$ref"] for message in messages]
    assert all(reference.removeprefix("./") in contract_documents() for reference in payloads)


def test_export_writes_what_differs(tmp_path: Path) -> None:
    assert len(export_contract(tmp_path / "contract")) == len(contract_documents())
    assert export_contract(tmp_path / "contract") == []
    (tmp_path / "contract" / "asyncapi.json").write_text("{}")
    assert [path.name for path in export_contract(tmp_path / "contract")] == ["asyncapi.json"]
