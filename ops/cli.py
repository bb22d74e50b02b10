"""`remora`: the command line. One process each for the roles, one command each for what an operator does.

Enters: arguments and the settings of the environment. Leaves: an exit code; data on standard output, words on standard error.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from engine.config import load_settings
from engine.errors import RemoraError

COMMANDS: dict[str, str] = {
    "demo": "demo:demo",
    "up": "up:up",
    "doctor": "doctor:doctor",
    "init": "stack:init",
    "status": "state:status",
    "halt": "switches:halt",
    "resume": "switches:resume",
    "flatten": "switches:flatten",
    "explain": "log:explain",
    "replay": "log:replay",
    "verify": "log:verify",
    "rebuild": "rebuild:rebuild",
    "follower": "follower:app",
    "signal": "signal:app",
    "detect": "signal:detect",
    "queue": "queue:app",
    "whale": "whale:app",
    "dead": "dead:app",
    "shadow": "shadow:app",
    "key": "key:app",
    "vault": "vault:app",
    "import": "legacy:import_app",
    "bridge": "legacy:bridge_app",
    "chaos": "chaos:chaos",
    "bench": "bench:bench",
    "soak": "soak:soak",
}
"""Command to its place in `ops.commands`, module and name: only what is called is imported, a role nothing of it."""


def single(function: Callable[..., None]) -> Any:
    """A command that is not a group."""
    around = typer.Typer(add_completion=False)
    around.command()(function)
    return typer.main.get_command(around)


class Commands(TyperGroup):
    """The commands of `COMMANDS` beside those that are defined here."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command that is called."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = COMMANDS[cmd_name].split(":")
        found = getattr(importlib.import_module(f"ops.commands.{module}"), name)
        command = typer.main.get_group(found) if isinstance(found, typer.Typer) else single(found)
        command.name = cmd_name
        return command


app = typer.Typer(name="remora", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def remora() -> None:
    """Event-sourced copy trading on a Kafka log."""


ROLES: dict[str, str] = {
    "sequencer": "engine.agents.sequencer",
    "engine": "engine.agents.engine",
    "executor": "engine.executor.service",
    "projector": "projections.projector",
    "api": "api.app",
}
"""Role to the module whose `async def run(settings)` is the process."""


def run_role(module: str, **options: object) -> None:
    """Run one process until it is told to stop; imports only what that role needs."""
    role = importlib.import_module(module)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(role.run(load_settings(), **options))


def new_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where the platform has one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _add_role(name: str, module: str) -> None:
    def role() -> None:
        run_role(module)

    role.__doc__ = f"Run the {name} process until it is stopped."
    app.command(name)(role)


for _name, _module in ROLES.items():
    _add_role(_name, _module)


@app.command()
def simulator(
    limits: Annotated[str, typer.Option(help="Venue rate limits: real or off.")] = "off",
    faults: Annotated[str | None, typer.Option(help="Fault rates, for example `rate=0.2,seed=1`.")] = None,
    live_prices: Annotated[bool, typer.Option(help="Markets and prices of the real venues (public), for REMORA_PAPER_URL.")] = False,
    accounts: Annotated[Path | None, typer.Option(help="Keep the accounts (with their keys) in this file.")] = None,
) -> None:
    """Run the exchange simulator: Binance spot and USD-M, Bybit v5 spot and linear, over HTTP on loopback."""
    run_role("engine.exchanges.simulator", limits=limits, faults=faults, live_prices=live_prices, accounts_file=accounts)


def main() -> None:
    """Entry point: errors that the outside world causes end in one clear sentence and their exit code."""
    try:
        app()
    except RemoraError as error:
        print(f"remora: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
