"""What the server says when it is ready."""

from __future__ import annotations

import ipaddress

from shared.kit import json
from shared.kit.settings import UNSIGNED, Settings

READY = "Signalbox is ready at "
"""How the first line begins; the base URL follows it."""

_FLOWS = {"username": "you@example.com", "password": "at least 8 characters"}
_AGENTS = {"email": "you@example.com", "password": "at least 12 characters", "name": "You"}


def banner(chosen: Settings) -> str:
    """Where everything is and how to sign up; and a warning when others can reach it and need not sign."""
    url = chosen.public_url
    lines = [
        f"{READY}{url}",
        f"  API         {url}/api/v1   (FlowRunner: flows; NullRun: agents)",
        f"  docs        {url}/docs     (also /redoc, /openapi.json)",
        f"  data        {chosen.data.resolve()}",
        f"  sign up     {_post(f'{url}/api/v1/accounts', _FLOWS)}",
        "              The first account becomes the administrator; then log in at /api/v1/auth/login.",
        f"  for agents  {_post(f'{url}/api/v1/auth/register', _AGENTS)}",
        f"              The answer has an API key; NullRun's SDK takes it with NULLRUN_API_URL={url}",
        "  stop        Ctrl-C",
    ]
    if not chosen.hmac_required and not _only_this_machine(chosen.host):
        lines.append(f"WARNING: {UNSIGNED}")
    return "\n".join(lines)


def _only_this_machine(host: str) -> bool:
    """Whether nobody else can reach what listens there. A name other than localhost may stand for any address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _post(url: str, body: dict[str, str]) -> str:
    return f"curl -X POST {url} -H 'Content-Type: application/json' \\\n                 -d '{json.dumps(body)}'"
