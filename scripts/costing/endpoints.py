"""What every operation of the API consumes when it succeeds, in a function that is warm."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts import samples
from scripts.costing.bill import Bill
from scripts.costing.flows import APPROVAL, TRANSFORM, chain
from scripts.costing.world import PASSWORD, World

FLOW = chain(10, TRANSFORM)

Prepare = Callable[["Scene"], None]


@dataclass(slots=True)
class Scene:
    """A deployment in use: two accounts, a secret, two flows, an execution that ended and one that waits."""

    world: World
    token: str
    places: dict[str, str]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the administrator."""
        return self.world.call(method, path, body, self.token)


@dataclass(frozen=True, slots=True)
class Special:
    """Where an operation differs: other values of path parameters, another body, something to do first."""

    places: dict[str, str] | None = None
    body: Any = None
    first: Prepare | None = None


def _pause(scene: Scene) -> None:
    scene.call("POST", f"/api/v1/executions/{scene.places['waiting']}/pause")
    scene.world.settle(Bill(), Bill())


SPECIAL = {
    "cancel_execution": Special({"execution_id": "waiting"}),
    "create_account": Special(body={"username": "edsger", "password": PASSWORD}),
    "create_secret": Special(body={"key": "OTHER_KEY", "value": "another-value"}),
    "delete_account": Special({"account_id": "other"}),
    "login": Special(body={"username": "ada", "password": PASSWORD}),
    "pause_execution": Special({"execution_id": "waiting"}),
    "resume_execution": Special({"execution_id": "waiting"}, first=_pause),
    "signal_execution": Special({"execution_id": "waiting", "key": "signal"}),
    "update_account": Special({"account_id": "other"}),
}


def scene(world: World) -> Scene:
    """The deployment every operation is asked of."""
    world.call("POST", "/api/v1/accounts", {"username": "ada", "password": PASSWORD})
    token = world.call("POST", "/api/v1/auth/login", {"username": "ada", "password": PASSWORD})["token"]
    made = Scene(world, token, {"key": "API_KEY", "name": "http.request", "signal": "ask"})
    made.places["account_id"] = made.call("GET", "/api/v1/accounts/me")["id"]
    other = {"name": "Grace", "email": "grace@example.com", "password": PASSWORD, "role": "user"}
    made.places["other"] = made.call("POST", "/api/v1/accounts", other)["id"]
    made.call("POST", f"/api/v1/accounts/{made.places['account_id']}/secrets/API_KEY", {"value": "your-api-key"})
    for text, place in ((APPROVAL, "waiting"), (FLOW, "execution_id")):
        flow = made.call("POST", "/api/v1/flows", {"name": "Orders", "definition": text, "tags": ["production"]})
        started = made.call("POST", f"/api/v1/flows/{flow['id']}/run", {"input": {"key": "value"}})
        world.settle(Bill(), Bill())
        made.places |= {"flow_id": flow["id"], place: started["execution_id"]}
    return made


def measure(scene: Scene, method: str, path: str, operation: dict[str, Any]) -> Bill:
    """What one operation consumes."""
    name = operation["operationId"]
    special = SPECIAL.get(name, Special())
    if special.first is not None:
        special.first(scene)
    names = special.places or {}
    target = re.sub(r"\{(\w+)\}", lambda found: scene.places[names.get(found[1], found[1])], path)
    body = special.body if special.body is not None else samples.sample_body(method, path, operation)
    needs_token = operation["x-signalbox-security"] == "required"
    bill = Bill()
    with scene.world.meter.on(bill):
        scene.world.call(method, target, body, scene.token if needs_token else "")
    return bill
