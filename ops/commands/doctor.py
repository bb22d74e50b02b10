"""`remora doctor`: everything that can be wrong from outside, each finding with the command that fixes it."""

from __future__ import annotations

import asyncio
import json as jsonlib
import logging
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from engine.config import Settings, load_settings
from ops.commands.common import Json

if TYPE_CHECKING:
    from ops.doctor.findings import Answer

MARKS = {"ok": "ok", "warning": "!", "error": "x", "skipped": "-"}


def doctor(json: Json = False) -> None:
    """Look for what is wrong: servers, topics, tables, roles, clocks, vault, accounts. Exit 1 when something is (warnings do not count)."""
    try:
        settings = load_settings()
    except ValidationError as error:
        _refuse(error, json)
        raise typer.Exit(1) from None
    # What a client library has to say of a server that is away, the finding says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    answers = asyncio.run(_ask(settings, json))
    wrong = [answer for answer in answers if answer.status == "error"]
    if json:
        print(jsonlib.dumps({"ok": not wrong, "checks": [answer.as_json() for answer in answers]}))
    raise typer.Exit(1 if wrong else 0)


async def _ask(settings: Settings, json: bool) -> list[Answer]:
    from ops.doctor.run import examine

    answers = []
    async for answer in examine(settings):
        answers.append(answer)
        if not json:
            _print(answer)
    return answers


def _print(answer: Answer) -> None:
    """Each command on a line of its own, for copying."""
    print(f"{MARKS[answer.status]:>2}  {answer.check}{f' ({answer.skipped})' if answer.skipped else ''}", flush=True)
    for finding in answer.findings:
        print(f"      {finding.text}\n        fix: {finding.fix}", flush=True)


def _refuse(error: ValidationError, json: bool) -> None:
    """Settings that cannot be read; their values may be secrets and are not shown."""
    findings = []
    for each in error.errors(include_input=False, include_url=False):
        name = str(each["loc"][0])
        variable = name if name.isupper() else f"REMORA_{name.upper()}"
        findings.append({"text": f"{variable}: {each['msg']}.", "fix": f"unset {variable}", "severity": "error"})
    if json:
        print(jsonlib.dumps({"ok": False, "checks": [{"check": "settings", "status": "error", "skipped": "", "findings": findings}]}))
        return
    for finding in findings:
        print(f" x  settings\n      {finding['text']}\n        fix: {finding['fix']}")
