"""A governed workflow with a key, and calls as NullRun's SDK makes them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from shared.composition import Services
from shared.governance.key_forms import NewKey
from shared.governance.workflow_forms import Draft
from shared.identity import DEFAULT_ORG_ID, Principal
from shared.kit import clock, json
from shared.store.models.governance import ApiKey, Purse, keys_pk
from shared.store.transaction import read
from tests.support.apigw import Answer, Handler, call
from tests.support.workflows import member, purse_of

NONE_DIGEST = "0049d93a36f0710269a6deb733ca78d57a770ef640a2698d0fddaa9653b7c3de"


@dataclass(frozen=True)
class Governed:
    """A workflow and one of its keys."""

    org_id: str
    workflow_id: str
    key_id: str
    key: str
    secret: str

    @property
    def purse(self) -> Purse:
        """The workflow's purse as it is."""
        return purse_of(self.workflow_id, self.org_id)

    @property
    def last_used_ms(self) -> int | None:
        """When the key was last used, as its record has it."""
        found = read(ApiKey, keys_pk(self.org_id), self.key_id)
        assert found is not None
        return None if found.last_used_ms is None else int(found.last_used_ms)

    def signed(self, body: bytes, *, at_s: int | None = None, secret: str | None = None) -> dict[str, str]:
        """The headers of a signed request, computed as the docs say and not by our own code."""
        stamp = clock.now_ms() // 1000 if at_s is None else at_s
        message = f"{stamp}:{self.key}:{hashlib.sha256(body).hexdigest()}"
        signature = hmac.new((secret or self.secret).encode(), message.encode(), hashlib.sha256).hexdigest()
        return {"x-api-key": self.key, "x-signature": signature, "x-signature-timestamp": str(stamp)}

    def post(self, handler: Handler, path: str, body: Any, **headers: str) -> Answer:
        """A signed POST; further ``headers`` have underscores for dashes."""
        raw = body if isinstance(body, bytes) else json.dumpb(body)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(
            handler, "POST", path, headers={"content-type": "application/json"} | self.signed(raw) | more, raw=raw
        )

    def gate(self, handler: Handler, **fields: Any) -> Answer:
        """A gate call of the SDK's shape."""
        body = {"organization_id": self.org_id, "check_type": "llm", "estimated_tokens": 1, "model": None} | fields
        return self.post(handler, "/api/v1/gate", body)


def owner(org_id: str = DEFAULT_ORG_ID) -> Principal:
    """An owner of an org, as its session would have it."""
    return member("owner", org_id)


def govern(
    services: Services, *, org_id: str = DEFAULT_ORG_ID, name: str = "support bot", budget_cents: int | None = None,
    scopes: tuple[str, ...] = ("*",),
) -> Governed:  # fmt: skip
    """Make a workflow and a key for it."""
    services.identity.prepare()
    governance, principal = services.governance, owner(org_id)
    workflow = governance.workflows.create(principal, Draft(name=name, budget_cents=budget_cents))
    minted = governance.keys.mint(principal, NewKey(name="prod", workflow_id=workflow.id, scopes=scopes))
    return Governed(org_id, workflow.id, minted.view.id, minted.key, minted.secret)
