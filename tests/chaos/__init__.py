"""Faults: the deterministic simulation and its checks."""
