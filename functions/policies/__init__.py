"""Policies, approval rules and approvals."""
