"""Writes ``events/``: one sample event per operation and trigger, as AWS sends it. ``scripts/samples.py [--check]``.

HTTP events come from the OpenAPI document: its example values, behind the route of template.yaml that API Gateway would
choose. The caller is ada, whom ``events/accounts/create_account.json`` signs up; agents show an API key, for which you
put one of yours. Its requests are not signed: what signs them, a deployment tells when it makes a key.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from scripts.template import ROOT, functions, route_of, routes
from shared.identity import DEFAULT_ORG_ID
from shared.kit.version import VERSION
from shared.store.stream import ChangeRecord
from shared.web.families import every_route
from shared.web.openapi import document

FOLDER = ROOT / "events"
USERNAME, PASSWORD = "ada", "correct horse 42"
ORG = DEFAULT_ORG_ID
ID = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
API_KEY = "nr_test_" + "0" * 32
TIME_MS = 1_767_268_800_000
HOST = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
METHODS = ("get", "put", "post", "delete", "patch")
PARAMETERS = {
    "key": "API_KEY",
    "name": "http.request",
    "org_id": ORG,
    "provider": "github",
    "template_id": "block-destructive-sql",
    "token": "inv_" + "0" * 43,
}
"""What stands for a path's parameters; for all others an id does."""

Event = dict[str, Any]


def events() -> dict[Path, Event]:
    """Every sample by its path below ``events/``."""
    made = dict(_http_events())
    made |= dict(_unserved({event["routeKey"] for event in made.values()}))
    for family, samples in (("channels", _channels()), ("engine", _engine()), ("relay", _relay()), ("sweep", _sweep())):
        made |= {Path(family, f"{name}.json"): event for name, event in samples.items()}
    return made


@cache
def openapi() -> dict[str, Any]:
    """The document of all families."""
    return document(every_route(), version=VERSION)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of the document."""
    for path, item in openapi()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def sample_path(method: str, path: str, operation: dict[str, Any]) -> Path:
    """Where an operation's sample is: the folder of the family API Gateway sends it to."""
    return Path(functions()[route_of(method, concrete(path)).function].family, f"{operation['operationId']}.json")


def sample_body(method: str, path: str, operation: dict[str, Any]) -> Any:
    """The body of an operation's sample; None without one."""
    event = json.loads((FOLDER / sample_path(method, path, operation)).read_text(encoding="utf-8"))
    return json.loads(event["body"]) if "body" in event else None


def concrete(path: str) -> str:
    """The path with example values for its parameters."""
    return re.sub(r"\{(\w+)\}", lambda found: quote(PARAMETERS.get(found[1], ID)), path)


def _http_events() -> Iterator[tuple[Path, Event]]:
    schemas = openapi()["components"]["schemas"]
    for method, path, operation in operations():
        body = _example(operation, schemas)
        headers = {"accept": "application/json", **_credentials(operation)}
        if body is not None:
            headers["content-type"] = "application/json"
        yield sample_path(method, path, operation), http_event(method, concrete(path), headers, body)


def _credentials(operation: dict[str, Any]) -> dict[str, str]:
    """The header of whoever may call: ada where people may, else an agent, else nobody."""
    match operation["x-signalbox-security"]:
        case "required" | "any":
            return {"authorization": _BASIC}
        case "key":
            return {"x-api-key": API_KEY}
    return {}


_BASIC = f"Basic {base64.b64encode(f'{USERNAME}:{PASSWORD}'.encode()).decode()}"


def _unserved(keys: set[str]) -> Iterator[tuple[Path, Event]]:
    """A request of each route that no operation needs: the family behind it says that nothing is there."""
    for route in routes():
        if route.key not in keys:
            path = route.key.partition(" ")[2]
            name = path.strip("/").replace("/", "_")
            family = functions()[route.function].family
            yield Path(family, f"nothing_at_{name}.json"), http_event("GET", path, {"accept": "application/json"})


def _example(operation: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The request body's example. Without credentials the last one is taken: what strangers may send."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    single = [holder["example"] for holder in (content, schema) if "example" in holder]
    examples = single or schema.get("examples")
    if not examples:
        raise ValueError(f"{operation['operationId']} has no example of its request body")
    return examples[-1 if operation["x-signalbox-security"] in ("optional", "none") else 0]


def http_event(method: str, path: str, headers: dict[str, str], body: Any = None) -> Event:
    """A request as an HTTP API sends it (API Gateway Developer Guide, payload format version 2.0)."""
    key = route_of(method, path).key
    event: Event = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": HOST, "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", **headers},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": HOST.partition(".")[0],
            "domainName": HOST,
            "domainPrefix": HOST.partition(".")[0],
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.9.1",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": key,
            "stage": "$default",
            "time": "01/Jan/2026:12:00:00 +0000",
            "timeEpoch": TIME_MS,
        },
        "isBase64Encoded": False,
    }  # fmt: skip
    if body is not None:
        event["body"] = json.dumps(body)
        event["headers"]["content-length"] = str(len(event["body"].encode()))
    return event


def _channels() -> dict[str, Event]:
    def event(route: str, kind: str, **rest: Any) -> Event:
        context = {
            "routeKey": route, "eventType": kind, "connectionId": "L0SM9cOFvHcCIhw=", "messageDirection": "IN",
            "requestId": "JKJaXmPLvHcESHA=", "requestTimeEpoch": TIME_MS, "connectedAt": TIME_MS, "stage": "live",
            "domainName": HOST, "apiId": HOST.partition(".")[0], "identity": {"sourceIp": "192.0.2.1"},
        }  # fmt: skip
        return {"requestContext": context, "isBase64Encoded": False, **rest}

    person, agent = {"Authorization": _BASIC, "Host": HOST}, {"X-API-Key": API_KEY, "Host": HOST}
    watching, governed = {"signalbox-path": "/api/v1/ws"}, {"signalbox-path": f"/ws/control/{ORG}"}
    return {
        "connect": event("$connect", "CONNECT", headers=person, queryStringParameters=watching),
        "connect_dashboard": event("$connect", "CONNECT", headers=person, queryStringParameters=governed),
        "connect_agent": event("$connect", "CONNECT", headers=agent, queryStringParameters=governed),
        "message": event("$default", "MESSAGE", body='{"type":"ping"}'),
        "disconnect": event("$disconnect", "DISCONNECT", headers={"Host": HOST}),
    }


def _engine() -> dict[str, Event]:
    execution = {"execution": f"{ORG}/{ID}", "generation": 0}
    return {
        "advance": {"op": "advance", **execution},
        "park": {"op": "park", **execution, "wake": 0, "task_token": "AQCEAAAAKgAAAAMAAAAAAAAAAQ=="},
    }


def _relay() -> dict[str, Event]:
    def change(table: str, event: Literal["INSERT", "MODIFY"], pk: str, sk: str) -> Event:
        keys = {"pk": {"S": pk}, "sk": {"S": sk}}
        record = ChangeRecord(
            sequence=1, table=f"signalbox-{table}", event=event, keys=keys, old=None, new=None, at_ms=TIME_MS,
            view="KEYS_ONLY",
        )  # fmt: skip
        return {"Records": [record.as_event()]}

    return {
        "changes": change("executions", "MODIFY", f"{ORG}#{ID}", "control"),
        "listeners": change("channels", "INSERT", f"{ORG}#execution#{ID}", "L0SM9cOFvHcCIhw="),
        "governance": change("governance", "INSERT", f"{ORG}#events", ID),
    }


def _sweep() -> dict[str, Event]:
    return {
        "scheduled": {
            "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "123456789012", "time": "2026-01-01T12:00:00Z", "region": "eu-central-1",
            "resources": ["arn:aws:events:eu-central-1:123456789012:rule/signalbox-sweep"], "detail": {},
        }
    }  # fmt: skip


def main(check: bool) -> int:
    """Write every sample and remove what no longer is one; with ``check`` only tell the differences."""
    wanted = {FOLDER / path: json.dumps(event, indent=2) + "\n" for path, event in events().items()}
    found = {path: path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.json")}
    differing = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
    for path in differing:
        print(path.relative_to(ROOT))
        if not check and path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        elif not check:
            path.unlink()
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
