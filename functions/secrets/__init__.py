"""Secrets of accounts."""
