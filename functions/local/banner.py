"""What the server says when it is ready."""

from __future__ import annotations

from shared.kit.settings import Settings

READY = "Signalbox is ready at "
"""How the first line begins; the base URL follows it."""


def banner(chosen: Settings) -> str:
    """Where everything is and how to sign up."""
    url = chosen.public_url
    sign_up = (
        f"curl -X POST {url}/api/v1/accounts -H 'Content-Type: application/json' \\\n"
        """                 -d '{"username": "you@example.com", "password": "at least 8 characters"}'"""
    )
    lines = [
        f"{READY}{url}",
        f"  API         {url}/api/v1   (FlowRunner)",
        f"  docs        {url}/docs     (also /redoc, /openapi.json)",
        f"  data        {chosen.data.resolve()}",
        f"  sign up     {sign_up}",
        "              The first account becomes the administrator; then log in at /api/v1/auth/login.",
        "  stop        Ctrl-C",
    ]
    return "\n".join(lines)
