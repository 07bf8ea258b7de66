"""``events/``: every operation and trigger has a sample, a handler that takes it, a route that leads there, a test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from scripts import samples
from scripts.invoke import find, invoke
from scripts.template import ROOT, functions, resources, route_of, template
from shared.composition import Services
from shared.store.stream import ChangeRecord
from shared.web.families import family_routers
from tests.support.deployment import cheap_identity, deployment

FILES = sorted(path.relative_to(samples.FOLDER) for path in samples.FOLDER.rglob("*.json"))
SIGN_UP = Path("accounts", "create_account.json")
HTTP = [path for path in FILES if path.parts[0] not in ("channels", "engine", "relay", "sweep")]

NOT_THERE = {"approximate": 503, "start_oauth": 501, "register_oauth": 501}
"""What a deployment without a workflow, and without applications at other providers, has not."""


def sample(path: Path) -> Any:
    """A sample's event."""
    return json.loads((samples.FOLDER / path).read_text(encoding="utf-8"))


@cache
def texts_of(family: str) -> str:
    """The text of a family's tests, or of every test but this one, with the paths that constants of a module name."""
    folder = ROOT / "tests" / "unit" / "functions" / family if family else ROOT / "tests"
    others = (path for path in folder.rglob("*.py") if path != Path(__file__))
    return "\n".join(_with_constants(path.read_text(encoding="utf-8")) for path in others)


def _with_constants(text: str) -> str:
    for name, value in re.findall(r'^([A-Z_]+) = "(/[^"]*)"$', text, re.MULTILINE):
        text = text.replace(f"{{{name}}}", value)
    return text


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with deployment(tmp_path) as services:
        services.__dict__["identity"] = cheap_identity()
        yield services


@cache
def granted(family: str) -> set[str]:
    """The tables that a family's function may use."""
    attached = dict(resources("AWS::Serverless::Function"))[find(family).name]["Policies"]
    policies = dict(resources("AWS::IAM::ManagedPolicy"))
    given = [statement for name in attached for statement in policies[name["Ref"]]["PolicyDocument"]["Statement"]]
    return {name.lower() for name in re.findall(r"(\w+)Table\.Arn", json.dumps(given))}


def tried(family: str, path: Path, services: Services) -> Any:
    """The answer to a sample. Fails when the function reaches for a table that its role keeps from it."""
    assert services.store is not None
    with services.store.requests.recorded() as requests:
        answer = invoke(find(family), sample(path))
    used = {table.partition("-")[2] for request in requests for table in request.tables}
    assert used <= granted(family), f"{family} has no policy for {used - granted(family)}"
    return answer


@cache
def documented() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) by operation id."""
    return {operation["operationId"]: (method, path, operation) for method, path, operation in samples.operations()}


def test_samples_are_up_to_date() -> None:
    """Each sample is what scripts/samples.py makes of the document and the template now; none is left over."""
    wanted = samples.events()
    assert set(FILES) == set(wanted)
    assert [path for path in FILES if sample(path) != wanted[path]] == []


def test_every_operation_is_reached_by_its_route() -> None:
    """API Gateway sends each documented operation to the function whose family serves it."""
    for method, path, operation in documented().values():
        function = functions()[route_of(method, samples.concrete(path)).function]
        served = {
            (verb, re.sub(r":\w+\}", "}", route.path))
            for route in family_routers()[function.family].routes
            if isinstance(route, Route)
            for verb in route.methods or ()
        }
        assert (method, path) in served, (
            f"{operation['operationId']} reaches {function.family}, which does not serve it"
        )


def test_every_route_and_trigger_has_a_sample() -> None:
    """Each route of both APIs, each change stream, the clock and each task of the state machine can be tried."""
    keys = {sample(path).get("requestContext", {}).get("routeKey") for path in FILES}
    wanted = {properties["RouteKey"] for _, properties in resources("AWS::ApiGatewayV2::Route")}
    assert wanted <= keys
    relayed = [record for path in FILES if path.parts[0] == "relay" for record in sample(path)["Records"]]
    streams = {ChangeRecord.from_event(record).table.partition("-")[2] for record in relayed}
    fed = functions_events("RelayFunction")
    assert {name.removesuffix("Table").lower() for name in fed} == streams
    machine = json.loads((ROOT / "shared" / "engine" / "driver.asl.json").read_text(encoding="utf-8"))
    tasks = {
        state["Parameters"]["Payload"]["op"]
        for state in machine["States"].values()
        if "Payload" in state.get("Parameters", {})
    }
    assert {sample(path)["op"] for path in FILES if path.parts[0] == "engine"} == tasks
    assert [sample(path)["source"] for path in FILES if path.parts[0] == "sweep"] == ["aws.events"]


def functions_events(name: str) -> set[str]:
    """Logical ids of the tables whose change streams a function reads."""
    events = template()["Resources"][name]["Properties"]["Events"]
    return {event["Properties"]["Stream"]["Fn::GetAtt"].partition(".")[0] for event in events.values()}


def test_every_function_has_a_handler_and_a_sample() -> None:
    """No function of the template is without an entry point or without an event to try it with."""
    for function in functions().values():
        module, _, name = function.handler.rpartition(".")
        assert callable(getattr(import_module(module), name)), function.handler
        assert any(path.parts[0] == function.family for path in FILES), function.family


@pytest.mark.parametrize("operation_id", sorted(documented()))
def test_every_operation_is_tested(operation_id: str) -> None:
    """Some other test calls the operation's path."""
    method, path, _ = documented()[operation_id]
    family = functions()[route_of(method, samples.concrete(path)).function].family
    _, org, below = path.partition("/orgs/{org_id}/")
    # Tests of what lies below an organisation begin with its path, which they have in a variable.
    start = r"[\"'}]/" if org else ""
    pattern = re.sub(r"\\\{\w+\\\}", r"[^\\s\"'/?]+", re.escape(below or path))
    end = re.escape(path.rpartition("}")[2])
    called = re.search(rf"{start}{pattern}[\"'?`\s]", texts_of(""))
    assert called or (end and re.search(rf"[\"'}}]{end}[\"'?]", texts_of(family))), f"no test calls {path}"


@pytest.mark.parametrize("path", HTTP, ids=str)
def test_a_sample_is_answered_as_documented(path: Path, services: Services) -> None:
    """The handler behind the sample's route takes it, and answers with a status its operation documents."""
    if path != SIGN_UP:
        assert tried("accounts", SIGN_UP, services)["statusCode"] == 201
    answer = tried(path.parts[0], path, services)
    if path.stem not in documented():
        assert answer["statusCode"] == 404
        return
    _, _, operation = documented()[path.stem]
    assert str(answer["statusCode"]) in operation["responses"]
    assert answer["statusCode"] == NOT_THERE[path.stem] if path.stem in NOT_THERE else answer["statusCode"] < 500
    if operation["x-signalbox-security"] in ("required", "any"):
        assert answer["statusCode"] != 401


def test_triggers_take_their_samples(services: Services) -> None:
    """The functions without HTTP take what AWS sends them, also for an execution that does not exist."""
    assert tried("accounts", SIGN_UP, services)["statusCode"] == 201
    assert tried("engine", Path("engine", "advance.json"), services)["word"] == "end"
    for name in ("changes", "governance", "listeners"):
        assert tried("relay", Path("relay", f"{name}.json"), services) == {"batchItemFailures": []}
    assert tried("sweep", Path("sweep", "scheduled.json"), services) is not None
    for name in ("connect", "message", "disconnect", "connect_dashboard", "message", "disconnect"):
        assert tried("channels", Path("channels", f"{name}.json"), services) == {"statusCode": 200}
    assert tried("channels", Path("channels", "connect_agent.json"), services)["statusCode"] == 401
