"""Workflows and API keys."""
