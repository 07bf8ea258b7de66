"""Which of the four public APIs a path belongs to, and hence whose form its errors take."""

from __future__ import annotations

import re
from enum import StrEnum


class Api(StrEnum):
    """The public APIs that share one host."""

    FLOWRUNNER = "flowrunner"
    NOETL = "noetl"
    HUB = "hub"
    NULLRUN = "nullrun"


_NULLRUN = (
    "orgs|gate|execute|check|track|cancel|heartbeat|status|capabilities|budget|approvals|policies"
    "|workflows|invites|plans"
)

_PREFIXES: tuple[tuple[re.Pattern[str], Api], ...] = (
    (re.compile(r"/api/(gateway|gataway|executor|files|admin)(/|$)"), Api.HUB),
    (re.compile(rf"/api/v1/({_NULLRUN})(/|$)"), Api.NULLRUN),
    (re.compile(r"/api/v1/auth/(verify|register|oauth|session)(/|$)"), Api.NULLRUN),
    (re.compile(r"/ws/control(/|$)"), Api.NULLRUN),
    (re.compile(r"/api/v1(/|$)"), Api.FLOWRUNNER),
    (re.compile(r"/(api|graphql|noetl|events)(/|$)"), Api.NOETL),
)


def api_of(path: str) -> Api:
    """The API of a decoded path; the first prefix that fits decides, and FlowRunner has the rest."""
    return next((api for prefix, api in _PREFIXES if prefix.match(path)), Api.FLOWRUNNER)
