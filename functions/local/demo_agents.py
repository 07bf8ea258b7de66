"""The part of ``--demo`` that governs an agent: what the gate says to some calls, and where the key is.

As a client of this very server, like the rest of the demonstration.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from shared.governance.signatures import sign
from shared.kit import clock, ids, json

KEY = "demo-key.json"
TIMEOUT_S = 30.0
BUDGET_CENTS = 10

CALLS: tuple[tuple[str, int, int], ...] = (
    ("search", 4_000, 600), ("bash", 0, 0), ("write_report", 20_000, 6_000), ("search", 4_000, 600),
)  # fmt: skip
"""A tool, and the tokens its model call takes. A shell is blocked; the report uses the budget up."""

Call = Callable[..., dict[str, Any]]
"""Calls the API with a person's session: method, path and body."""


class AgentDemo:
    """``call`` is a signed-in client's; ``show`` prints a line."""

    def __init__(self, url: str, folder: Path, call: Call, show: Callable[[str], None]) -> None:
        self._url = url
        self._file = folder / KEY
        self._call = call
        self._print = show

    def show(self) -> None:
        """Govern a workflow, make some calls of an agent, and print what became of them."""
        org_id = self._call("GET", "/api/v1/orgs")["organizations"][0]["id"]
        org = f"/api/v1/orgs/{org_id}"
        key, secret = self._key(org)
        self._call("POST", f"{org}/policies/templates/block-shell/enable")
        self._print(f"\nAn agent with a budget of {BUDGET_CENTS} cents a month, and no shell:\n")
        for tool, tokens_in, tokens_out in CALLS:
            asked = self._ask(key, secret, "gate", operation_id=ids.uuid4(), tools=[tool], model="gpt-4o")
            if asked["decision"] != "allow":
                self._print(f"  {tool:<14} {asked['decision']:<6} {asked['error_code']}: {asked['explanation']}")
                continue
            told = self._ask(
                key, secret, "track", reservation_id=asked["reservation_id"], idempotency_key=asked["operation_id"],
                model="gpt-4o", input_tokens=tokens_in, output_tokens=tokens_out,
            )  # fmt: skip
            spent = told["snapshot"]["spent_cents"]
            self._print(f"  {tool:<14} allow  {spent} of {BUDGET_CENTS} cents are spent")
        self._print(f"\nWhat happened: {org}/dashboard, {org}/executions, {org}/audit-log")
        self._print("Its budget is used up until somebody raises it: PATCH budget_cents of its workflow.")
        self._print(f"For an agent of your own: NULLRUN_API_URL={self._url} NULLRUN_API_KEY={key}")

    def _key(self, org: str) -> tuple[str, str]:
        """The agent's key and its secret, minted with its workflow at the first demonstration in this data folder."""
        if not self._file.exists():
            made = self._call("POST", f"{org}/workflows", {"name": "demo agent", "budget_cents": BUDGET_CENTS})
            minted = self._call("POST", f"{org}/api-keys", {"name": "demo", "workflow_id": made["id"]})
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps({name: minted[name] for name in ("api_key", "secret_key")}))
        stored = json.loads(self._file.read_text())
        return stored["api_key"], stored["secret_key"]

    def _ask(self, key: str, secret: str, question: str, **body: Any) -> dict[str, Any]:
        """What the agent is answered; refusals are answers, too."""
        sent, stamp = json.dumpb(body), str(clock.now_ms() // 1000)
        proof = {"X-Signature": sign(secret, stamp, key, sent), "X-Signature-Timestamp": stamp}
        headers = {"X-API-Key": key, "Content-Type": "application/json", **proof}
        answer = requests.post(f"{self._url}/api/v1/{question}", data=sent, headers=headers, timeout=TIMEOUT_S)
        found: dict[str, Any] = answer.json()
        if "decision" not in found and "snapshot" not in found:
            answer.raise_for_status()
        return found
