"""What a check gives: findings. Each says what is wrong in one sentence and which command fixes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from engine.config import Settings

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. `fix` is a command line. `blocks`: what needs this check cannot be asked either."""

    text: str
    fix: str
    severity: Severity = "error"
    blocks: bool = True


def warning(text: str, fix: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(text, fix, "warning", blocks=False)


@dataclass(frozen=True)
class Check:
    """One question. It is left out (`skipped`) when a check that it needs has failed."""

    name: str
    ask: Callable[[Settings], Awaitable[list[Finding]]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a check came to. `skipped`: what it needs did not answer."""

    check: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""

    @property
    def status(self) -> str:
        """The worst of it."""
        if self.skipped:
            return "skipped"
        return max((finding.severity for finding in self.findings), key=STATUSES.index, default="ok")

    @property
    def blocks(self) -> bool:
        """Whether what needs this cannot be asked."""
        return bool(self.skipped) or any(finding.blocks for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"check": self.check, "status": self.status, "skipped": self.skipped, "findings": [asdict(each) for each in self.findings]}


STATUSES: Final = ("ok", "warning", "error")
