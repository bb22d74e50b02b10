"""The engine: contracts, pure domain, the Kafka log, Faust agents, executor and exchanges. `topology.py` is the map."""
