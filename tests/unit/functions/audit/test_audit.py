"""Executions and the audit trail through their Lambda handler: each status of each route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions.audit.app import handler
from functions.flows.app import handler as flows
from functions.gate.app import handler as gate
from shared.composition import Services
from shared.governance.audit import Audit
from shared.governance.exports import LINK_S
from shared.governance.orgsettings import org_settings
from shared.kit import clock
from shared.store.models.audit import AuditEntry, audit_pk, entry_sk
from shared.store.models.governance import OrgSettings
from tests.support.apigw import Answer, call
from tests.support.audit import asked, happened
from tests.support.deployment import Person, deployment, sign_up
from tests.support.governance import Governed, govern
from tests.support.time import HeldClock

UNKNOWN = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
PASSING = "metadata: {name: passing}\nnodes:\n  start: {type: base}\n"


@pytest.fixture
def bot(services: Services, ada: Person) -> Governed:
    """A workflow of Ada's org with a key."""
    return govern(services, org_id=ada.org_id)


def key_of(bot: Governed) -> dict[str, str]:
    """Headers as NullRun's SDK sends them with its GETs."""
    return {"x-api-key": bot.key, "authorization": f"Bearer {bot.key}"}


def get(who: Person, path: str, *, org_id: str = "", headers: dict[str, str] | None = None) -> Answer:
    sent = who.headers if headers is None else headers
    return call(handler, "GET", f"/api/v1/orgs/{org_id or who.org_id}/{path}", headers=sent)


def export(who: Person, *, org_id: str = "", **sent: Any) -> Answer:
    headers = sent.pop("headers", who.headers)
    return call(handler, "POST", f"/api/v1/orgs/{org_id or who.org_id}/audit-log/export", headers=headers, **sent)


def relayed(services: Services) -> None:
    """Everything that happened so far is followed."""
    store = services.store
    assert store is not None
    assert services.relay.handle(store.stream.read(0, 10_000)) == []


READS = (
    "executions", f"executions/{UNKNOWN}", "audit-log", "audit-log/verify", "audit-log/export",
    f"audit-log/export/{UNKNOWN}/status", f"audit-log/export/{UNKNOWN}/file",
)  # fmt: skip


# Who may


@pytest.mark.parametrize("path", READS)
def test_nobody_reads_without_credentials(ada: Person, path: str) -> None:
    """401 without, with wrong, and with a key of no form; in this API's form."""
    for headers in ({}, {"authorization": "Bearer x"}, {"x-api-key": "nr_live_x"}):
        answer = get(ada, path, headers=headers)
        assert (answer.status, answer.body["error"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", READS)
def test_nobody_reads_another_org(ada: Person, bob: Person, bot: Governed, path: str) -> None:
    """403 for a session that is no member and for a key of another org."""
    for org_id, headers in ((ada.org_id, bob.headers), (bob.org_id, key_of(bot))):
        answer = get(ada, path, org_id=org_id, headers=headers)
        assert (answer.status, answer.body["error"]) == (403, "forbidden")


@pytest.mark.parametrize("path", ["executions", "audit-log", "audit-log/verify", "audit-log/export"])
def test_a_key_of_the_org_reads(ada: Person, bot: Governed, path: str) -> None:
    """200, as the SDK asks: with the key in both headers, or in the Bearer header alone."""
    assert get(ada, path, headers=key_of(bot)).status == 200
    assert get(ada, path, headers={"authorization": f"Bearer {bot.key}"}).status == 200


def test_an_export_needs_the_org(ada: Person, bob: Person, bot: Governed) -> None:
    """401 and 403, as for the reads; a Bearer value that is a key is none on a POST."""
    assert export(ada, headers={}).status == 401
    assert export(ada, headers={"authorization": f"Bearer {bot.key}"}).status == 401
    assert export(ada, headers=bob.headers).status == 403
    assert export(bob, headers=key_of(bot)).status == 403


# Executions


def test_executions_200(held: HeldClock, services: Services, ada: Person, bot: Governed) -> None:
    """Gate calls, refused ones too, and executions of definitions, with every documented field."""
    allowed = bot.gate(gate, model="gpt-4o-mini", tools=["search"])
    assert allowed.status == 200, allowed
    made = call(flows, "POST", "/api/v1/flows", headers=ada.headers, json={"name": "A flow", "definition": PASSING})
    held.advance(1)
    run = call(_executions(), "POST", f"/api/v1/flows/{made.body['id']}/run", headers=ada.headers)
    held.advance(1)
    asked("block", org_id=ada.org_id, workflow_id=bot.workflow_id, error_code="TOOL_BLOCKED")
    answer = get(ada, "executions")
    assert answer.status == 200
    assert answer.body.keys() == {"executions", "counts", "total", "complete", "next_cursor"}
    assert (answer.body["total"], answer.body["next_cursor"], answer.body["complete"]) == (3, None, True)
    assert answer.body["counts"] == {"allow": 2, "block": 1, "pending": 0, "denied": 0}
    refused, flow, operation = answer.body["executions"]
    assert (refused["decision"], refused["result"], refused["error_code"]) == ("block", "blocked", "TOOL_BLOCKED")
    assert (flow["id"], flow["kind"], flow["result"]) == (run.body["execution_id"], "flow", "pending")
    assert operation["id"] == operation["execution_id"] == allowed.body["reservation_id"]
    assert (operation["workflow_id"], operation["workflow_name"]) == (bot.workflow_id, "support bot")
    assert (operation["model"], operation["decision"], operation["result"]) == ("gpt-4o-mini", "allow", "pending")
    assert operation["projected_cost_cents"] == 1
    assert operation.keys() >= {
        "trace_id", "tool", "cost_cents", "tokens", "llm_calls", "latency_ms", "policy_id", "created_at", "completed_at"
    }  # fmt: skip


def _executions() -> Any:
    from functions.executions.app import handler as executions

    return executions


def test_executions_are_paged_and_filtered(ada: Person, bot: Governed) -> None:
    """`limit` and `cursor` go through the list; filters narrow list, total and counts."""
    for decision in ("allow", "block", "block"):
        asked(decision, org_id=ada.org_id, workflow_id=bot.workflow_id)
    first = get(ada, "executions?limit=2").body
    assert (len(first["executions"]), first["total"]) == (2, 3)
    rest = get(ada, f"executions?limit=2&cursor={first['next_cursor']}").body
    assert (len(rest["executions"]), rest["total"], rest["next_cursor"]) == (1, 3, None)
    assert len({row["id"] for row in first["executions"] + rest["executions"]}) == 3
    assert get(ada, "executions?decision=block").body["total"] == 2
    assert get(ada, f"executions?workflow_id={bot.workflow_id}&decision=allow").body["total"] == 1
    assert get(ada, "executions?workflow_id=unknown").body["executions"] == []
    assert get(ada, "executions?until=2000-01-01T00:00:00Z").body["total"] == 0
    assert get(ada, "executions?since=2000-01-01T00:00:00%2B02:00").body["total"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=x", "decision=maybe", "since=yesterday", "until=2026-01-01", "since=99999999999",
        "cursor=%20", "cursor=%C3%A9", "since=9999-12-31T23:59:59-23:59&limit=-1",
    ],
)  # fmt: skip
def test_executions_400(ada: Person, query: str) -> None:
    """A bad filter says which."""
    answer = get(ada, f"executions?{query}")
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert answer.body["details"]["field"] in query


def test_execution_200(services: Services, ada: Person, bot: Governed) -> None:
    """One execution with events and spans."""
    made = bot.gate(gate, tools=["search"]).body["reservation_id"]
    relayed(services)
    answer = get(ada, f"executions/{made}")
    assert answer.status == 200
    assert (answer.body["id"], answer.body["spans"]) == (made, [])
    [event] = answer.body["events"]
    assert (event["type"], event["details"]["decision"]) == ("gate.allow", "allow")


def test_execution_of_a_definition_200(services: Services, ada: Person) -> None:
    """With what its journal says, by its id and by its number."""
    made = call(flows, "POST", "/api/v1/flows", headers=ada.headers, json={"name": "A flow", "definition": PASSING})
    path = f"/api/v1/flows/{made.body['id']}/run"
    run = call(_executions(), "POST", path, headers=ada.headers, json={"input": {"x": "canary"}})
    execution_id = run.body["execution_id"]
    services.advancer.advance(ada.org_id, execution_id, 0)
    answer = get(ada, f"executions/{execution_id}")
    assert (answer.status, answer.body["result"], answer.body["kind"]) == (200, "completed", "flow")
    assert [span["name"] for span in answer.body["spans"]] == ["start"]
    assert b"canary" not in answer.raw


@pytest.mark.parametrize("execution_id", [UNKNOWN, "x", "%20", "a%23b", "1" * 400, "999"])
def test_execution_404(ada: Person, execution_id: str) -> None:
    """Unknown, or no id at all."""
    answer = get(ada, f"executions/{execution_id}")
    assert (answer.status, answer.body["error"]) == (404, "not_found")


def test_an_execution_of_another_org_404(ada: Person, bob: Person) -> None:
    """Nobody learns that it is there."""
    made = asked(org_id=ada.org_id).execution_id
    assert get(ada, f"executions/{made}").status == 200
    assert get(bob, f"executions/{made}").status == 404


# The trail


def test_audit_log_200(services: Services, ada: Person, bot: Governed) -> None:
    """Entries of people and of keys, newest first, as the SDK parses them."""
    bot.gate(gate, tools=["search"])
    relayed(services)
    answer = get(ada, "audit-log", headers=key_of(bot))
    assert answer.status == 200
    entry, *_ = answer.body["data"]
    assert (entry["action"], entry["actor_type"], entry["actor_id"]) == ("gate.allow", "api_key", bot.key_id)
    assert entry["actor_label"].startswith("prod (nr_live_")
    assert bot.key not in answer.raw.decode()
    assert {"workflow.created", "api_key.created"} <= {row["action"] for row in answer.body["data"]}
    meta = answer.body["meta"]
    count = len(answer.body["data"])
    assert meta == {
        "total_returned": count, "total_matching": count, "filtered": False, "limit": 100, "complete": True
    }  # fmt: skip


def test_audit_log_filters(services: Services, ada: Person, bot: Governed) -> None:
    """Every parameter narrows the list; `meta` says so."""
    bot.gate(gate, tools=["search"])
    relayed(services)
    moment = "2000-01-01T00:00:00Z"
    for query, found in {
        "action=gate.allow": 1, "event_type=authorization_decision": 1, f"actor=api_key:{bot.key_id}": 1,
        "resource_type=policy": 0, "resource_id=unknown": 0, "decision=allow": 1, "policy_id=unknown": 0,
        f"execution_id={UNKNOWN}": 0, f"action=gate.allow&since={moment}": 1, f"until={moment}": 0,
        "event_type=authorization_decision&action=workflow.created": 1,
    }.items():  # fmt: skip
        body = get(ada, f"audit-log?{query}").body
        assert (len(body["data"]), body["meta"]["total_matching"], body["meta"]["filtered"]) == (found, found, True)
    one = get(ada, "audit-log?limit=1").body
    assert (len(one["data"]), one["meta"]["limit"]) == (1, 1)
    assert one["meta"]["total_matching"] > 1
    assert get(ada, "audit-log?limit=5000").body["meta"]["limit"] == 1000


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "since=x", "until=2026-13-01T00:00:00Z", "since=2026-01-01"])
@pytest.mark.parametrize("path", ["audit-log", "audit-log/verify"])
def test_audit_log_400(ada: Person, path: str, query: str) -> None:
    """A bad filter says which."""
    answer = get(ada, f"{path}?{query}")
    if path == "audit-log/verify" and query.startswith("limit"):
        assert answer.status == 200
        return
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert answer.body["details"]["field"] in query


def test_verify_200(services: Services, ada: Person, bot: Governed) -> None:
    """The chain is whole; what waits to be chained is counted; a change is found."""
    before = get(ada, "audit-log/verify").body
    assert (before["verified"], before["record_count"]) == (True, 0)
    assert before["unchained"] >= 2
    relayed(services)
    answer = get(ada, "audit-log/verify", headers=key_of(bot))
    assert answer.status == 200
    assert (answer.body["verified"], answer.body["chain_valid"], answer.body["unchained"]) == (True, True, 0)
    assert answer.body["record_count"] == before["unchained"]
    assert answer.body["hmac_checked"] is False
    entry = AuditEntry.get(audit_pk(ada.org_id), entry_sk(1))
    entry.update([AuditEntry.body.set(entry.body.replace("created", "deleted"))])
    changed = get(ada, "audit-log/verify").body
    assert (changed["verified"], changed["chain_valid"]) == (False, False)
    assert (changed["first_failure_reason"], changed["first_failure_number"]) == ("content_hash_mismatch", 1)


# Exports


def test_export_200(services: Services, ada: Person, bot: Governed) -> None:
    """Asked for by a key as the SDK does, signed over `{}`; done in the background; then there is a file to fetch."""
    started = export(ada, headers=key_of(bot) | bot.signed(b"{}"), raw=b"{}")
    assert (started.status, started.body["status"]) == (200, "pending")
    job = started.body["job_id"]
    status = get(ada, f"audit-log/export/{job}/status", headers=key_of(bot))
    assert (status.status, status.body["status"], status.body["file_url"]) == (200, "pending", None)
    assert get(ada, f"audit-log/export/{job}/file").status == 404
    relayed(services)
    done = get(ada, f"audit-log/export/{job}/status").body
    assert (done["status"], done["error_message"], done["truncated"]) == ("completed", None, False)
    assert done["completed_at"].endswith("Z")
    listed = get(ada, "audit-log/export").body["exports"]
    assert [(row["id"], row["status"]) for row in listed] == [(job, "completed")]
    for headers in (ada.headers, key_of(bot)):
        file = get(ada, f"audit-log/export/{job}/file", headers=headers)
        assert (file.status, file.headers["content-type"]) == (200, "application/x-ndjson")
        assert file.headers["content-disposition"] == f'attachment; filename="audit-{job}.jsonl"'
        assert len(file.raw.splitlines()) == done["record_count"] > 0
        assert {json.loads(line)["current_event_hash"] for line in file.raw.splitlines()}


def test_a_link_needs_no_credentials(held: HeldClock, services: Services, ada: Person, bob: Person) -> None:
    """200 with the token of `file_url`; 403 with another, for another org, and when it has expired."""
    job = export(ada).body["job_id"]
    relayed(services)
    link = get(ada, f"audit-log/export/{job}/status").body["file_url"]
    path = link.removeprefix("https://signalbox.example.com")
    assert call(handler, "GET", path).status == 200
    for wrong in (path[:-1], path.replace(ada.org_id, bob.org_id), path.replace("expires=", "expires=9")):
        assert call(handler, "GET", wrong).status == 403
    assert call(handler, "GET", urlsplit(path).path).status == 401
    held.advance(LINK_S)
    expired = call(handler, "GET", path)
    assert (expired.status, expired.body["error"]) == (403, "forbidden")


def test_a_file_elsewhere_307(services: Services, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the blob store answers files itself, the caller is sent there."""

    class Linked:
        def __init__(self) -> None:
            self.kept: dict[str, bytes] = {}

        def put(self, key: str, data: bytes) -> None:
            self.kept[key] = data

        def get(self, key: str) -> bytes:
            return self.kept[key]

        def delete(self, key: str) -> None:
            del self.kept[key]

        def link(self, key: str, seconds: int) -> str:
            return f"https://bucket.example.com/{key}?for={seconds}"

    services.__dict__["blobs"] = Linked()
    job = export(ada).body["job_id"]
    relayed(services)
    answer = get(ada, f"audit-log/export/{job}/file")
    assert answer.status == 307
    expected = f"https://bucket.example.com/exports/{ada.org_id}/{job}.jsonl?for={LINK_S}"
    assert answer.headers["location"] == expected


def test_an_export_of_a_time(held: HeldClock, services: Services, ada: Person) -> None:
    """Only what happened in it."""
    Audit().append(ada.org_id, [happened("before", org_id=ada.org_id)])
    held.advance(60)
    since = clock.rfc3339(clock.now_ms())
    Audit().append(ada.org_id, [happened("inside", org_id=ada.org_id)])
    held.advance(60)
    until = clock.rfc3339(clock.now_ms())
    job = export(ada, json={"since": since, "until": until}).body["job_id"]
    relayed(services)
    file = get(ada, f"audit-log/export/{job}/file")
    assert [json.loads(line)["action"] for line in file.raw.splitlines()] == ["inside"]


def test_a_repeated_export_is_one_job(ada: Person) -> None:
    """The same Idempotency-Key answers the same job."""
    headers = ada.headers | {"idempotency-key": "k"}
    assert export(ada, headers=headers).body == export(ada, headers=headers).body
    assert len(get(ada, "audit-log/export").body["exports"]) == 1


@pytest.mark.parametrize(
    ("raw", "status", "slug"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"since":5}', 422, "validation_error"),
        (b'{"since":"yesterday"}', 422, "validation_error"),
        (b'{"until":"2026-01-01"}', 422, "validation_error"),
        (b'{"since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}', 422, "validation_error"),
        (b'{"until":"0001-01-01T00:00:00Z"}', 200, None),
        (b'{"extra":1}', 200, None),
        (b"", 200, None),
    ],
)
def test_export_bodies(ada: Person, raw: bytes, status: int, slug: str | None) -> None:
    """400 for what is no object, 422 for what is no time; unknown fields and no body are fine."""
    answer = export(ada, raw=raw)
    assert (answer.status, answer.body.get("error")) == (status, slug)


def test_export_413(ada: Person) -> None:
    """A body over the limit."""
    assert export(ada, raw=b" " * (4 * 1024 * 1024 + 1)).status == 413


def test_export_429(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many that have not ended."""
    monkeypatch.setattr("shared.governance.exports.MOST_UNENDED", 1)
    assert export(ada).status == 200
    answer = export(ada)
    assert (answer.status, answer.body["error"], answer.headers["retry-after"]) == (429, "rate_limit_exceeded", "60")


@pytest.mark.parametrize("job", [UNKNOWN, "x", "%20", "a%23b", "x" * 900])
@pytest.mark.parametrize("path", ["status", "file"])
def test_export_404(ada: Person, job: str, path: str) -> None:
    """Unknown, or no id at all; so is another org's."""
    answer = get(ada, f"audit-log/export/{job}/{path}")
    assert (answer.status, answer.body["error"]) == (404, "not_found")


def test_an_export_of_another_org_404(ada: Person, bob: Person) -> None:
    """Nobody learns that it is there."""
    job = export(ada).body["job_id"]
    assert get(bob, f"audit-log/export/{job}/status").status == 404


# Plans


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Person]:
    """Somebody in an org of the smallest plan, where plans are enforced."""
    with deployment(tmp_path, plan_enforcement=True) as services:
        ada = sign_up("ada")
        _ = services.governance
        org_settings(ada.org_id).update([OrgSettings.plan.set("lite")])
        yield ada


def test_a_plan_without_the_trail_403(small: Person) -> None:
    """Its entries, verification and exports need a larger plan; executions do not."""
    answers = [get(small, "audit-log"), get(small, "audit-log/verify"), export(small)]
    assert [(answer.status, answer.body["error"]) for answer in answers] == [(403, "plan_feature_missing")] * 3
    assert get(small, "executions").status == 200
