from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import APIRouter
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.responses import Response

from shared.web.families import every_route
from shared.web.openapi import document


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(every_route(), version="1.2.3", server="https://api.example.com")


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, found) for path, methods in described["paths"].items() for method, found in methods.items()]


def test_it_is_a_valid_openapi_document(described: dict[str, Any]) -> None:
    """Of version 3.1, with the deployment's own address as server."""
    validate(described)
    assert described["openapi"].startswith("3.1")
    assert described["servers"] == [{"url": "https://api.example.com"}]
    json.dumps(described)


def test_every_operation_says_what_it_answers(described: dict[str, Any]) -> None:
    """A success, its errors, a summary; 401 wherever credentials are read; headers where they are heeded."""
    for path, method, found in operations(described):
        where = f"{method} {path}"
        assert any(status.startswith("2") for status in found["responses"]), where
        assert "500" in found["responses"], where
        assert found["summary"], where
        if found["x-signalbox-security"] != "none":
            assert "401" in found["responses"], where
        names = {parameter["name"] for parameter in found.get("parameters", [])}
        takes = found["x-signalbox-security"]
        assert ("Idempotency-Key" in names) == (method == "post" and takes != "key"), where
        assert ("X-Signature" in names) == ("X-Signature-Timestamp" in names) == (takes == "key"), where
        may_choose_org = takes not in ("none", "key") and "{org_id}" not in path
        assert ("X-Signalbox-Org" in names) == may_choose_org, where


def test_every_schema_has_an_example_that_fits(described: dict[str, Any]) -> None:
    """Examples are checked against the schemas they stand in."""
    for name, schema in described["components"]["schemas"].items():
        validator = OAS31Validator(schema | {"components": described["components"]})
        for example in schema.get("examples", []):
            validator.validate(example)
        assert schema.get("examples"), name


def test_every_body_has_an_example(described: dict[str, Any]) -> None:
    """Requests and answers of every media type, errors included: what to send and what comes can be seen."""
    parts = described["components"]
    for path, method, found in operations(described):
        answers = [
            parts["responses"].get(row.get("$ref", "").rpartition("/")[2], row) for row in found["responses"].values()
        ]
        for body in (found.get("requestBody", {}), *answers):
            for kind, media in body.get("content", {}).items():
                named = parts["schemas"].get(media["schema"].get("$ref", "").rpartition("/")[2], {})
                assert media.get("example") or named.get("examples"), f"{method} {path} {kind}"


def test_every_tag_and_parameter_is_described(described: dict[str, Any]) -> None:
    """Readers meet the families in the order of use, and no parameter without a word about it."""
    tags = [tag["name"] for tag in described["tags"]]
    assert tags[0] == "auth"
    assert all(tag["description"] for tag in described["tags"])
    assert {name for _, _, found in operations(described) for name in found["tags"]} == set(tags)
    assert sorted(name for group in described["x-tagGroups"] for name in group["tags"]) == sorted(tags)
    for path, method, found in operations(described):
        for parameter in found.get("parameters", []):
            assert parameter["description"], f"{method} {path} {parameter['name']}"


def test_errors_are_shown_in_the_form_of_their_api(described: dict[str, Any]) -> None:
    """Each error answer has an example of the body a client will see."""
    for name, response in described["components"]["responses"].items():
        example = response["content"]["application/json"]["example"]
        api, _, status = name.partition("-")
        assert response["content"]["application/problem+json"]["example"]["status"] == int(status)
        if api == "nullrun":
            assert example["error"] and example["code"] == example["error_code"]
            assert example["message"] == example["error_message"]
        else:
            assert api == "flowrunner"
            assert example["error"]["message"]
    assert "Retry-After" in described["components"]["responses"]["flowrunner-429"]["headers"]


def test_a_route_that_does_not_describe_itself_is_an_error() -> None:
    """The document is complete or there is none."""
    router = APIRouter()

    @router.get("/api/v1/nameless")
    def nameless() -> Response:
        return Response()

    with pytest.raises(ValueError, match="nameless"):
        document(router.routes, version="1")
