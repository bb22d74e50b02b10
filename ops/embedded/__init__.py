"""A real Kafka and a real PostgreSQL from Python packages: no Docker, no installed Java, loopback only."""
