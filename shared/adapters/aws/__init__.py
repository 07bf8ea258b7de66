"""Adapters of the system on AWS."""
