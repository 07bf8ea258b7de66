"""The whole system in one process: what ``scripts/serve`` starts."""
