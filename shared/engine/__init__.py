"""The engine: programs, executions, their journal and the protocol that drives them."""
