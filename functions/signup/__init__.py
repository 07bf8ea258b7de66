"""Signing up, and signing in with other providers."""
