"""The AWS template against what the code says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import quickjs

from functions.channels.app import PATH_PARAMETER
from scripts.template import ROOT, functions, resources, route_of, template
from shared.kit.settings import Settings
from shared.store.base import table_definitions
from shared.store.models import every_model

WEBSOCKET_PATHS = ("/ws/executions/*", "/api/v1/ws", "/ws/control/*", "/ws", "/ws/journeys/*")
TABLES = {
    "identity", "catalog", "executions", "vault", "keyvalue", "channels", "idempotency", "governance", "audit",
}  # fmt: skip
MOST_RESERVED = 1000 - 100
"""What functions may reserve of an account's 1,000 concurrent executions (AWS Lambda quotas)."""


def tables() -> dict[str, dict[str, Any]]:
    """Properties of every table, by name without the stack's."""
    return {table["TableName"]["Fn::Sub"].partition("-")[2]: table for _, table in resources("AWS::DynamoDB::Table")}


def defined() -> dict[str, tuple[dict[str, Any], str | None]]:
    """What the models need of every table."""
    return {
        request["TableName"].partition("-")[2]: (request, ttl) for request, ttl in table_definitions(*every_model())
    }


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every role and every policy that functions are given."""
    for name, policy in resources("AWS::IAM::ManagedPolicy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            yield name, statement
    for name, role in resources("AWS::IAM::Role"):
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def listed(value: Any) -> list[Any]:
    """A list, of one when it is a single value."""
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", sorted(functions()))
def test_a_role_takes_the_policies_it_is_given(name: str) -> None:
    """AWS attaches ten managed policies to a role; SAM adds one for the log and one for traces."""
    # Source: IAM and AWS STS quotas, managed policies attached to an IAM role.
    assert len(dict(resources("AWS::Serverless::Function"))[name]["Policies"]) <= 10 - 2


def test_every_table_of_the_models_exists() -> None:
    """No model names a table that a deployment does not have."""
    assert set(tables()) == TABLES
    assert set(defined()) <= TABLES


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_is_as_its_models_need_it(name: str) -> None:
    """Keys, attributes, indexes, change stream and expiry are those of the models."""
    table = tables()[name]
    if name not in defined():
        pytest.skip("no model uses this table yet")
    request, ttl = defined()[name]

    def by_name(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: str(row[key]))

    assert table["KeySchema"] == request["KeySchema"]
    wanted, found = request["AttributeDefinitions"], table["AttributeDefinitions"]
    assert by_name(found, "AttributeName") == by_name(wanted, "AttributeName")
    wanted, found = request.get("GlobalSecondaryIndexes", []), table.get("GlobalSecondaryIndexes", [])
    assert by_name(found, "IndexName") == by_name(wanted, "IndexName")
    stream = request.get("StreamSpecification", {}).get("StreamViewType")
    assert table.get("StreamSpecification", {}).get("StreamViewType") == stream
    assert table["TimeToLiveSpecification"] == {"AttributeName": ttl, "Enabled": True}


def test_every_table_is_safe() -> None:
    """Tables are billed by request, can be restored to any second, use our key and survive their stack."""
    for name, resource in template()["Resources"].items():
        if resource["Type"] == "AWS::DynamoDB::Table":
            table = resource["Properties"]
            assert table["BillingMode"] == "PAY_PER_REQUEST", name
            assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
            assert table["SSESpecification"]["KMSMasterKeyId"] == {"Fn::GetAtt": "StorageKey.Arn"}, name
            assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
            assert resource["UpdateReplacePolicy"] == "Retain", name


def test_every_change_stream_feeds_the_relay() -> None:
    """Each stream has a mapping that sets single bad records aside instead of blocking its shard."""
    events = template()["Resources"]["RelayFunction"]["Properties"]["Events"]
    fed = {event["Properties"]["Stream"]["Fn::GetAtt"].partition(".")[0] for event in events.values()}
    streams = {name for name, table in resources("AWS::DynamoDB::Table") if "StreamSpecification" in table}
    assert fed == streams
    for event in events.values():
        mapping = event["Properties"]
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": "RelayFailures.Arn"}


def test_no_role_has_a_wildcard_action() -> None:
    """Roles name each action, and everything that can be named as a resource."""
    found = list(statements())
    assert found
    for name, statement in found:
        for action in listed(statement["Action"]):
            assert "*" not in action, f"{name}: {action}"
            if "*" in listed(statement["Resource"]):
                assert action.split(":")[0] in ("logs", "xray"), f"{name}: {action} on every resource"


def test_every_function_is_built_alike() -> None:
    """One file tree for all functions, published behind an alias, with a handler that exists."""
    shared = template()["Globals"]["Function"]
    assert shared["AutoPublishAlias"] == "live"
    assert shared["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    for name, function in functions().items():
        resource = template()["Resources"][name]
        assert resource["Metadata"] == {"BuildMethod": "makefile"}, name
        assert "ReservedConcurrentExecutions" in resource["Properties"], name
        assert function.handler == f"functions.{function.family}.app.handler"
        assert find_spec(f"functions.{function.family}.app") is not None, name


def test_the_caps_leave_room_for_others() -> None:
    """An account with 1,000 concurrent executions can reserve what all functions together ask for."""
    caps = {
        name: function["ReservedConcurrentExecutions"]["Fn::If"][1]
        for name, function in resources("AWS::Serverless::Function")
    }
    assert sum(caps.values()) <= MOST_RESERVED
    assert max(caps, key=lambda name: int(caps[name])) == "EngineFunction"
    assert caps["GateFunction"] > caps["TrackingFunction"] > caps["PoliciesFunction"]


def test_every_family_has_a_function() -> None:
    """No endpoint family is left out of the deployment."""
    families = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")} - {"local"}
    assert {function.family for function in functions().values()} == families


def test_every_integration_may_call_its_function() -> None:
    """API Gateway is allowed to invoke, once per function, exactly the aliases its integrations point at."""
    uris = [integration["IntegrationUri"] for _, integration in resources("AWS::ApiGatewayV2::Integration")]
    called = {json.dumps(uri["Fn::Sub"][1]["Function"] if "Fn::Sub" in uri else uri) for uri in uris}
    allowed = [
        json.dumps(permission["FunctionName"])
        for _, permission in resources("AWS::Lambda::Permission")
        if permission["Principal"] == "apigateway.amazonaws.com"
    ]
    assert sorted(allowed) == sorted(called)
    assert all(".Alias" in name for name in called)


def variables() -> dict[str, Any]:
    """Every variable that some function is given."""
    found: dict[str, Any] = dict(template()["Globals"]["Function"]["Environment"]["Variables"])
    for _, function in resources("AWS::Serverless::Function"):
        found |= function.get("Environment", {}).get("Variables", {})
    return found


def test_every_setting_of_a_function_exists() -> None:
    """No variable of the template is a word the settings do not know."""
    ours = {name.removeprefix("SIGNALBOX_").lower() for name in variables() if name.startswith("SIGNALBOX_")}
    assert ours <= set(Settings.model_fields)


def test_requests_must_be_signed() -> None:
    """Whoever deploys and says nothing gets a deployment that takes no unsigned request."""
    assert variables()["SIGNALBOX_HMAC_REQUIRED"] == {"Ref": "HmacRequired"}
    assert template()["Parameters"]["HmacRequired"]["Default"] == "true"


def test_only_sign_up_knows_the_secrets_of_other_providers() -> None:
    """Client secrets are never shown as parameters, and no other function is given them."""
    secrets = {
        "SIGNALBOX_GITHUB_CLIENT_SECRET": "GithubClientSecret",
        "SIGNALBOX_GOOGLE_CLIENT_SECRET": "GoogleClientSecret",
    }
    for variable, parameter in secrets.items():
        assert template()["Parameters"][parameter]["NoEcho"] is True
        holders = [
            name
            for name, function in resources("AWS::Serverless::Function")
            if variable in function.get("Environment", {}).get("Variables", {})
        ]
        assert holders == ["SignupFunction"]
        assert variable not in template()["Globals"]["Function"]["Environment"]["Variables"]


def test_mail_has_one_sender() -> None:
    """Who may send mail may send it as the deployment's sender only."""
    sending = [(name, statement) for name, statement in statements() if "ses:SendEmail" in listed(statement["Action"])]
    assert [name for name, _ in sending] == ["SendMail"]
    assert all(
        statement["Condition"] == {"StringEquals": {"ses:FromAddress": {"Ref": "MailSender"}}}
        for _, statement in sending
    )


def test_a_path_within_a_path_has_its_own_family() -> None:
    """Secrets lie below accounts, runs below flows, much below orgs; each reaches the family that serves it."""
    reached = {
        "/api/v1/accounts": "AccountsFunction",
        "/api/v1/accounts/1": "AccountsFunction",
        "/api/v1/accounts/1/secrets/keys": "SecretsFunction",
        "/api/v1/flows/search": "FlowsFunction",
        "/api/v1/flows/1/run": "ExecutionsFunction",
        "/api/v1/login": "AuthFunction",
        "/api/v1/auth/verify": "GateFunction",
        "/api/v1/auth/register": "SignupFunction",
        "/api/v1/auth/oauth/github/start": "SignupFunction",
        "/api/v1/auth/session": "SignupFunction",
        "/api/v1/auth/login": "AuthFunction",
        "/api/v1/gate": "GateFunction",
        "/api/v1/status/1": "GateFunction",
        "/api/v1/budget/approximate": "GateFunction",
        "/api/v1/track": "TrackingFunction",
        "/api/v1/track/batch": "TrackingFunction",
        "/api/v1/approvals/1/consume": "ApprovalsFunction",
        "/api/v1/policies/toggle": "PoliciesFunction",
        "/api/v1/workflows/1/api-keys": "WorkflowsFunction",
        "/api/v1/invites/1/accept": "OrgsFunction",
        "/api/v1/plans": "OrgsFunction",
        "/api/v1/orgs": "OrgsFunction",
        "/api/v1/orgs/1": "OrgsFunction",
        "/api/v1/orgs/1/members/2": "OrgsFunction",
        "/api/v1/orgs/1/nothing": "OrgsFunction",
        "/api/v1/orgs/1/workflows": "WorkflowsFunction",
        "/api/v1/orgs/1/workflows/2/kill": "WorkflowsFunction",
        "/api/v1/orgs/1/api-keys/2/rotate": "WorkflowsFunction",
        "/api/v1/orgs/1/policies/templates": "PoliciesFunction",
        "/api/v1/orgs/1/approvals/2/approve": "ApprovalsFunction",
        "/api/v1/orgs/1/approval-rules/2": "ApprovalsFunction",
        "/api/v1/orgs/1/executions/2": "AuditFunction",
        "/api/v1/orgs/1/audit-log/export/2/status": "AuditFunction",
        "/api/v1/orgs/1/alerts/2/dismiss": "AlertsFunction",
        "/api/v1/orgs/1/alert-channels": "AlertsFunction",
        "/api/v1/orgs/1/status": "AlertsFunction",
        "/api/v1/nowhere": "SystemFunction",
        "/": "SystemFunction",
    }
    assert {path: route_of("POST", path).function for path in reached} == reached


def distribution() -> dict[str, Any]:
    """The distribution's configuration."""
    ((_, properties),) = resources("AWS::CloudFront::Distribution")
    config: dict[str, Any] = properties["DistributionConfig"]
    return config


def test_the_distribution_caches_nothing() -> None:
    """Neither answers nor errors are kept, and the origin gets everything but the viewer's Host."""
    config = distribution()
    for behaviour in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]):
        # Amazon CloudFront, Use managed cache policies, CachingDisabled; and AllViewerExceptHostHeader likewise.
        assert behaviour["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
        assert behaviour["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac"
    assert {error["ErrorCode"] for error in config["CustomErrorResponses"]} >= {403, 404, 500, 502, 503, 504}
    assert all(error["ErrorCachingMinTTL"] == 0 for error in config["CustomErrorResponses"])


def test_every_websocket_path_has_a_behaviour() -> None:
    """Each goes to the WebSocket API, through the function that keeps its path."""
    behaviours = {behaviour["PathPattern"]: behaviour for behaviour in distribution()["CacheBehaviors"]}
    assert tuple(behaviours) == WEBSOCKET_PATHS
    for behaviour in behaviours.values():
        assert behaviour["TargetOriginId"] == "websocket"
        assert behaviour["FunctionAssociations"][0]["EventType"] == "viewer-request"


def rewritten(uri: str, querystring: dict[str, Any]) -> dict[str, Any]:
    """A handshake's request after the distribution's function."""
    ((_, function),) = resources("AWS::CloudFront::Function")
    context = quickjs.Context()
    context.eval(function["FunctionCode"])
    event = {"request": {"method": "GET", "uri": uri, "querystring": querystring, "headers": {}}}
    request: dict[str, Any] = json.loads(context.eval(f"JSON.stringify(handler({json.dumps(event)}))"))
    return request


def test_a_handshake_keeps_its_path_in_a_query_value() -> None:
    """The stage's path replaces the client's, which is found, decoded once, where the handler looks for it."""
    request = rewritten("/ws/executions/a%20b", {"token": {"value": "t"}})
    assert request["uri"] == "/live"
    assert request["querystring"]["token"] == {"value": "t"}
    assert unquote(request["querystring"][PATH_PARAMETER]["value"]) == "/ws/executions/a b"


@pytest.mark.parametrize("name", [PATH_PARAMETER, "signalbox%2Dpath", "%73ignalbox-path"])
def test_a_client_cannot_choose_the_path(name: str) -> None:
    """Whatever a client sends under the name, in any spelling, is overwritten."""
    sent = {
        name: {"value": "/ws/executions/other", "multiValue": [{"value": "/ws/executions/other"}]},
        "%": {"value": ""},
    }
    query = rewritten("/ws", sent)["querystring"]
    assert query == {"%": {"value": ""}, PATH_PARAMETER: {"value": "%2Fws"}}


def test_the_state_machine_gets_what_it_asks_for() -> None:
    """Every ``${…}`` of a definition is substituted, and nothing else is."""
    machines = dict(resources("AWS::Serverless::StateMachine"))
    assert {name: machine["Type"] for name, machine in machines.items()} == {
        "Driver": "STANDARD",
        "FirstDriver": "EXPRESS",
    }
    values = {"EngineFunction": {"Ref": "EngineFunction.Alias"}, "Driver": {"Ref": "Driver"}}
    for machine in machines.values():
        text = Path(ROOT, machine["DefinitionUri"]).read_text(encoding="utf-8")
        asked = set(re.findall(r"\$\{(\w+)\}", text))
        assert "EngineFunction" in asked
        assert machine["DefinitionSubstitutions"] == {name: values[name] for name in asked}
