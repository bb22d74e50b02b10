"""docker-compose.yml and Dockerfile against the code: commands that exist, settings that exist, loopback, not root."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
import yaml

from engine.config import Settings
from ops.cli import ROLES, app
from ops.embedded.kafka import SETTINGS
from tests.support import PROJECT

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "remora"}
FOREIGN = sorted(set(SERVICES) - set(OURS))


def every_command() -> set[str]:
    """What `remora` can be told to do."""
    group = typer.main.get_command(app)
    return set(group.list_commands(typer.Context(group)))  # type: ignore[attr-defined]


def known_settings() -> set[str]:
    """Every environment variable that `Settings` reads."""
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.add(f"REMORA_{name.upper()}" if alias is None else str(alias.choices[0]))  # type: ignore[union-attr]
    return names


@pytest.mark.parametrize("name", OURS)
def test_command_is_one_of_the_cli(name: str) -> None:
    assert OURS[name]["command"][0] in every_command()


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    assert set(OURS[name]["environment"]) <= known_settings()


@pytest.mark.parametrize("name", OURS)
def test_ours_are_locked_down(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"] == ["/tmp", "/run/remora"]
    assert service["healthcheck"]


def test_one_service_a_process() -> None:
    assert set(OURS) == {*ROLES, "simulator", "init"}
    assert FOREIGN == ["kafka", "postgres"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_broker_agrees_with_the_embedded_one() -> None:
    """A setting that both name has one value, so that a test on the one speaks for the other."""
    own = {"listener.security.protocol.map"}
    named = {key.removeprefix("KAFKA_").replace("_", ".").lower(): value for key, value in SERVICES["kafka"]["environment"].items()}
    shared = named.keys() & SETTINGS.keys() - own
    assert len(shared) >= 10
    assert {name: named[name] for name in shared} == {name: SETTINGS[name] for name in shared}


def test_image_is_not_root_and_holds_every_package() -> None:
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    assert "USER 10001:10001" in lines
    for package in ("engine", "projections", "api", "migrations", "ops"):
        assert f"COPY {package} {package}" in lines
        assert f"!{package}" in (PROJECT / ".dockerignore").read_text().splitlines()


def test_make_calls_commands_of_the_cli() -> None:
    called = re.findall(r"^\t\$\(BIN\)/remora (\w+)", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert "demo" in called
    assert sorted(set(called) - every_command()) == []
