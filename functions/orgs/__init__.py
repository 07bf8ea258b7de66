"""Organisations, their members and invites, and the plans."""
