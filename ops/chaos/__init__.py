"""Chaos: the whole system under kill -9, pauses and restarts of its servers, then a checker that reads everything it left behind."""
