"""Requests to the family."""

from __future__ import annotations

from functools import partial

from functions.policies.app import handler
from tests.support.orgs import send_to

send = partial(send_to, handler)
"""One request to the family: method, path, who, body."""
