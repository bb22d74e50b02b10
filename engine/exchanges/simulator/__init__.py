"""The exchange simulator: paper venue of the demo and peer of every test. `Simulator` starts one, `run` is its process."""

from engine.exchanges.simulator.server import Options, Simulator, run

__all__ = ["Options", "Simulator", "run"]
