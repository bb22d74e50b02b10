"""`remora`: the command line. One process each for the roles, one command each for what an operator does.

Enters: arguments and the settings of the environment. Leaves: an exit code; data on standard output, words on standard error.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.config import load_settings
from engine.errors import RemoraError
from ops.commands import dead, follower, key, legacy, queue, signal, stack, state, switches, vault, whale
from ops.commands.bench import bench
from ops.commands.chaos import chaos
from ops.commands.demo import demo
from ops.commands.log import explain, replay, verify
from ops.commands.rebuild import rebuild
from ops.commands.soak import soak

app = typer.Typer(name="remora", help="Event-sourced copy trading on a Kafka log.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(follower.app, name="follower")
app.add_typer(key.app, name="key")
app.add_typer(signal.app, name="signal")
app.add_typer(signal.detect, name="detect")
app.add_typer(queue.app, name="queue")
app.add_typer(whale.app, name="whale")
app.add_typer(dead.app, name="dead")
app.add_typer(vault.app, name="vault")
app.add_typer(legacy.import_app, name="import")
app.add_typer(legacy.bridge_app, name="bridge")
app.command("halt")(switches.halt)
app.command("resume")(switches.resume)
app.command("flatten")(switches.flatten)
app.command("init")(stack.init)
app.command("status")(state.status)
app.command("chaos")(chaos)
app.command("demo")(demo)
app.command("replay")(replay)
app.command("verify")(verify)
app.command("explain")(explain)
app.command("bench")(bench)
app.command("soak")(soak)
app.command("rebuild")(rebuild)

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
