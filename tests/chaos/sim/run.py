"""One seed from beginning to end: the number enters, a verdict leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.agents.loading import fold_log
from tests.chaos.sim.checks import check, ends
from tests.chaos.sim.consumers import PlainConsumer
from tests.chaos.sim.loop import RunsAway, rest
from tests.chaos.sim.observer import Observer
from tests.chaos.sim.standins import open_world
from tests.chaos.sim.workload import Workload
from tests.chaos.sim.world import World

QUIET_LIMIT_S = 400.0


@dataclass
class Verdict:
    """What one seed came to. `problems` is empty when every promise was kept."""

    seed: int
    problems: list[str] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    trace: str = ""
    """A digest of everything that was ever written: the same seed gives the same."""


async def _direct(world: World, workload: Workload, observer: Observer) -> bool:
    """The director's script; whether the world came to rest."""
    horizon = world.plan.horizon_s
    for role, count in world.plan.instances.items():
        for number in range(count):
            world.loop.outside(world.random.uniform(0.0, 0.2), world.launch, role, str(number))
    for name, count in world.plan.events.items():
        for _ in range(count):
            world.loop.outside(world.random.uniform(0.5, horizon), getattr(world, name))
    workload.schedule(horizon)
    await rest(horizon + 0.5)
    world.heal()
    workload.finish()
    until = world.loop.time() + QUIET_LIMIT_S
    while world.loop.time() < until:
        await rest(1.0)
        if observer.at_rest() and world.whole():
            await rest(1.5)
            if observer.at_rest() and world.whole():
                await _settle_down(world, observer)
                return True
    return False


async def _settle_down(world: World, observer: Observer) -> None:
    """Stop whoever feeds the engines, let them finish, and load the shards once more from the log."""
    world.frozen = True
    for process in world.contexts:
        if not process.name.startswith("engine"):
            process.kill()
    await rest(1.0)
    observer.catch_up()
    consumer = PlainConsumer(world.broker)
    for shard in observer.shards:
        loads = [await fold_log(consumer, world.settings, shard.number, shard.read)]
        if loads[0].snapshot_id > 1:
            loads.append(await fold_log(consumer, world.settings, shard.number, shard.read, from_zero=True))
        world.loaded.append(loads)


def simulate(seed: int) -> Verdict:
    """Run one seed."""
    verdict = Verdict(seed)
    with open_world(seed) as world:
        workload, observer = Workload(world), Observer(world)
        try:
            rested = world.loop.run(_direct(world, workload, observer))
        except RunsAway as error:
            return Verdict(seed, [str(error), *ends(world)], world.facts())
        if rested:
            verdict.problems = check(world, workload, observer)
        else:
            verdict.problems = [f"not at rest {QUIET_LIMIT_S} s after the last fault: {observer.restless()}", *ends(world)]
        verdict.facts = world.facts() | observer.facts()
        verdict.trace = world.broker.digest()
    return verdict
