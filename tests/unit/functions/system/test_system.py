from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from functions.system.app import handler
from shared.composition import Services
from shared.kit import clock
from shared.kit.errors import Unavailable
from shared.kit.version import VERSION
from shared.push import Connections
from tests.support.apigw import call

HEALTH = ["/", "/health", "/healthz", "/health/live", "/api/v1/health"]
CHECKED = ["/health/ready", "/health/startup"]


@pytest.fixture
def broken(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment whose store does not answer."""

    def refuse(self: Connections, connection_id: str) -> None:
        raise Unavailable("The store cannot be reached; try again")

    monkeypatch.setattr(Connections, "get", refuse)


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("path", HEALTH)
def test_health_200(path: str) -> None:
    """The same answer everywhere, without credentials, and nothing of it may be cached."""
    answer = call(handler, "GET", path)
    assert answer.status == 200
    assert answer.body.keys() == {"status", "time", "version", "dependencies"}
    assert (answer.body["status"], answer.body["version"], answer.body["dependencies"]) == ("ok", VERSION, {})
    assert abs(clock.parse_rfc3339(answer.body["time"]) - clock.now_ms()) < 60_000
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("path", HEALTH)
def test_health_checks_nothing(path: str) -> None:
    """Whether the store answers or not."""
    assert call(handler, "GET", path).status == 200


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("path", CHECKED)
def test_ready_200(path: str) -> None:
    """The store was asked."""
    answer = call(handler, "GET", path)
    assert (answer.status, answer.body["status"]) == (200, "ok")
    assert {name: row["status"] for name, row in answer.body["dependencies"].items()} == {"store": "ok"}
    assert answer.body["dependencies"]["store"]["latency_ms"] >= 0


@pytest.mark.parametrize("path", CHECKED)
def test_ready_503_without_a_relay(services: Services, path: str) -> None:
    """The server reads its own change stream: when nothing reads it any more the server is not ready."""
    thread = services.relay_thread
    answer = call(handler, "GET", path)
    assert (answer.status, answer.body["dependencies"]["events"]["status"]) == (503, "unavailable")
    thread.run()
    assert call(handler, "GET", path).status == 200


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("path", CHECKED)
def test_ready_503(path: str) -> None:
    """What does not answer is named, and when to ask again."""
    answer = call(handler, "GET", path)
    assert (answer.status, answer.body["status"]) == (503, "unavailable")
    assert answer.body["dependencies"]["store"]["status"] == "unavailable"
    assert answer.headers["retry-after"] == "1"


@pytest.mark.usefixtures("services")
def test_landing_200() -> None:
    """Browsers get a page at the root, which links to what there is; the answer depends on what is accepted."""
    page = call(handler, "GET", "/", headers={"accept": "text/html,*/*"})
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["vary"] == call(handler, "GET", "/").headers["vary"] == "Accept"
    for link in ("/docs", "/redoc", "/openapi.json", "/schemas/flow.json", "/plugins"):
        assert f'href="{link}"' in page.body
        assert call(handler, "GET", link).status == 200
    # Other functions answer these.
    for link in ("/api/v1/capabilities", "/api/v1/plans"):
        assert f'href="{link}"' in page.body


@pytest.mark.usefixtures("services")
def test_an_invite_leads_to_a_page() -> None:
    """What the mail of an invite links to is there, keeps the token to itself, and runs its own script and no other."""
    page = call(handler, "GET", "/invite?token=inv_x")
    assert (page.status, page.headers["referrer-policy"]) == (200, "no-referrer")
    (script,) = re.findall(r"<script>(.*?)</script>", page.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page.headers["content-security-policy"]
    assert "inv_x" not in page.body


@pytest.mark.parametrize("path", ["/api/v1/plugins", "/plugins"])
def test_plugins_200(services: Services, path: str) -> None:
    """Every name a node's type may have, once, each with a valid schema of its parameters; no credentials needed."""
    answer = call(handler, "GET", path)
    assert answer.status == 200
    names = [row["name"] for row in answer.body]
    assert names == sorted(name for kind in services.kinds.all() for name in (kind.name, *kind.aliases))
    assert {"transform", "worker_pool", "split.async", "ai.agent"} <= set(names)
    for row in answer.body:
        assert row.keys() == {"name", "description", "version", "author", "parameters"}
        assert all(row[name] for name in ("name", "description", "version", "author"))
        Draft202012Validator.check_schema(row["parameters"])


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("name", ["http.request", "split.async"])
@pytest.mark.parametrize("at", ["/api/v1/plugins", "/plugins"])
def test_plugin_200(at: str, name: str) -> None:
    """One row of the list."""
    (row,) = [row for row in call(handler, "GET", "/plugins").body if row["name"] == name]
    assert call(handler, "GET", f"{at}/{name}").body == row


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("path", ["/api/v1/plugins/missing", "/plugins/missing"])
def test_plugin_404(path: str) -> None:
    """A type there is none of."""
    missing = call(handler, "GET", path)
    assert (missing.status, missing.body["error"]["code"]) == (404, "not_found")


@pytest.mark.usefixtures("services")
def test_flow_schema_200() -> None:
    """A JSON Schema that may be kept for a day and tells a flow from something else."""
    answer = call(handler, "GET", "/schemas/flow.json")
    assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=86400")
    Draft202012Validator.check_schema(answer.body)
    validator = Draft202012Validator(answer.body)
    assert validator.is_valid({"metadata": {"name": "n"}, "nodes": {"a": {"type": "base"}}})
    assert not validator.is_valid({"metadata": {"name": "n"}, "nodes": {"a": {"type": "loop"}}})


@pytest.mark.usefixtures("services")
def test_documents_200() -> None:
    """One OpenAPI 3.1 document of every family, and two viewers of it."""
    document: dict[str, Any] = call(handler, "GET", "/openapi.json").body
    assert document["openapi"].startswith("3.1")
    for path in ("/health", "/api/v1/flows", "/api/v1/executions/{execution_id}", "/api/v1/auth/login"):
        assert path in document["paths"]
    for path in ("/docs", "/redoc"):
        assert call(handler, "GET", path).headers["content-type"].startswith("text/html")


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_404_for_paths_of_nobody(method: str) -> None:
    """In the envelope, with the top-level fields of a path no API claims."""
    answer = call(handler, method, "/nowhere/at/all")
    assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")
    assert answer.body["error_code"] == "NOT_FOUND"


@pytest.mark.usefixtures("services")
def test_405_on_health() -> None:
    """The path says what it answers."""
    answer = call(handler, "POST", "/health")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
