"""Deterministic simulation: the real store, engine and identity on a simulated clock (docs/testing.md)."""
