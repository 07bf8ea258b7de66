"""Approvals and their rules."""
