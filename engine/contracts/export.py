"""The published contract: JSON Schemas and an AsyncAPI 3 page. `python -m engine.contracts.export` writes them into `docs/contract`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from engine.contracts.audit import AUDIT_RECORD
from engine.contracts.commands import FOLLOWER_COMMAND
from engine.contracts.control import CONTROL_RECORD
from engine.contracts.rejection import Rejection
from engine.contracts.signal import SIGNAL_TYPE, WhaleSignal
from engine.topology import CONTROL, FOLLOWER_COMMANDS, REJECTED, SIGNALS, Topic

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "contract"
TEXT: Final = {"type": "string", "minLength": 1}
CE_HEADERS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": TEXT | {"description": "Unique per ce_source."},
        "ce_source": TEXT | {"description": "The detector, as a URI reference."},
        "ce_type": {"const": SIGNAL_TYPE},
        "ce_time": TEXT | {"format": "date-time"},
        "content-type": {"const": "application/json"},
    },
}
SCHEMAS: Final[dict[str, tuple[type[BaseModel] | TypeAdapter[Any], str]]] = {
    "whale.signal.v1": (WhaleSignal, f"The JSON body of a record on {SIGNALS.name}."),
    "follower.command.v1": (FOLLOWER_COMMAND, f"A record of {FOLLOWER_COMMANDS.name}."),
    "control.record.v1": (CONTROL_RECORD, f"A record of {CONTROL.name}."),
    "audit.record.v1": (AUDIT_RECORD, f"A record of {CONTROL.name} that is for the trail only."),
    "rejection.v1": (Rejection, f"A record of {REJECTED.name} or of a <topic>.dead."),
}


def _schema(model: type[BaseModel] | TypeAdapter[Any]) -> dict[str, Any]:
    schema = model.json_schema() if isinstance(model, TypeAdapter) else model.model_json_schema()
    return dict(_closed(schema))


def _closed(node: Any) -> Any:
    """Producers are held to the known fields (typing errors show up), while our own reader ignores unknown ones."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _closed(value) for name, value in node.items()}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        closed["additionalProperties"] = False
    return closed


def _channel(topic: Topic, description: str, *messages: str) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
        "bindings": {"kafka": {"topic": topic.name}},
    }


def _message(schema: str, key: str | None, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"name": schema, "contentType": "application/json", "payload": {"$ref": f"./{schema}.schema.json"}}
    if headers is not None:
        message["headers"] = headers
    if key is not None:
        message["bindings"] = {"kafka": {"key": {"type": "string", "description": key}}}
    return message


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document, seen from Remora: it receives signals, commands and control, and sends rejections."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Remora",
            "version": "1",
            "description": "What Remora reads and answers on Kafka. Signals are CloudEvents 1.0: binary mode, or structured mode with "
            "content-type application/cloudevents+json. Amounts are strings. Producers keep to the schemas, which are closed; Remora "
            f"ignores unknown fields. Partitions of {FOLLOWER_COMMANDS.name} are murmur2(follower_id) modulo their number.",
        },
        "channels": {
            "signals": _channel(SIGNALS, "Detectors publish here; all records of one whale share one key.", "signal"),
            "rejected": _channel(REJECTED, "Every refused signal, with the field, the value and what was expected.", "rejection"),
            "followerCommands": _channel(FOLLOWER_COMMANDS, "What followers want.", "followerCommand"),
            "control": _channel(
                CONTROL,
                "Switches, gates and releases, for all shards; and what the audit trail has besides.",
                "controlRecord",
                "auditRecord",
            ),
        },
        "operations": {
            "receiveSignal": _operation("receive", "signals", "Copy a whale's trade."),
            "sendRejection": _operation("send", "rejected", "Answer a detector."),
            "receiveFollowerCommand": _operation("receive", "followerCommands", "Change a follower."),
            "receiveControl": _operation("receive", "control", "Switch, gate, release."),
        },
        "components": {
            "messages": {
                "signal": _message("whale.signal.v1", "whale_id", CE_HEADERS),
                "rejection": _message("rejection.v1", None),
                "followerCommand": _message("follower.command.v1", "follower_id"),
                "controlRecord": _message("control.record.v1", None),
                "auditRecord": _message("audit.record.v1", None),
            }
        },
    }


def contract_documents() -> dict[str, str]:
    """File name to text of everything in `docs/contract`."""
    documents: dict[str, dict[str, Any]] = {"asyncapi.json": asyncapi()}
    for name, (model, comment) in SCHEMAS.items():
        documents[f"{name}.schema.json"] = {"$schema": DIALECT, "$comment": comment} | _schema(model)
    return {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}


def export_contract(folder: Path = FOLDER) -> list[Path]:
    """Write the published contract into `folder`; gives the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = [folder / name for name, text in contract_documents().items() if _differs(folder / name, text)]
    for path in changed:
        path.write_text(contract_documents()[path.name])
    return changed


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or path.read_text() != text


if __name__ == "__main__":
    export_contract()
