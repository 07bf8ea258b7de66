"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

import json

import pytest

from functions.audit.app import handler
from shared.composition import Services
from shared.governance.audit import Audit
from shared.store.models.audit import AuditEntry, audit_pk, entry_sk
from shared.store.models.governance import Event, events_pk
from tests.support.apigw import call
from tests.support.audit import asked, happened, operation_of
from tests.support.deployment import sign_up


def test_a_life_of_a_trail(elsewhere: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chained in several transactions and once, listed, filtered, verified, exported and told by execution."""
    monkeypatch.setattr("shared.governance.audit.BATCH", 3)
    ada = sign_up("ada")
    base = f"/api/v1/orgs/{ada.org_id}"
    sources = [happened(f"thing.{number}", org_id=ada.org_id) for number in range(4)]
    operation = asked("block", org_id=ada.org_id, error_code="TOOL_BLOCKED")
    for _ in range(2):
        Audit().append(ada.org_id, [*sources, operation])
    Audit().append(ada.org_id, [operation_of(operation)])
    log = call(handler, "GET", f"{base}/audit-log?limit=1000", headers=ada.headers).body
    assert (len(log["data"]), log["meta"]["total_matching"]) == (5, 5)
    denied = call(handler, "GET", f"{base}/audit-log?decision=deny", headers=ada.headers).body
    assert [entry["reason_code"] for entry in denied["data"]] == ["TOOL_BLOCKED"]
    verified = call(handler, "GET", f"{base}/audit-log/verify", headers=ada.headers).body
    assert (verified["verified"], verified["record_count"], verified["unchained"]) == (True, 5, 0)
    job = call(handler, "POST", f"{base}/audit-log/export", headers=ada.headers).body["job_id"]
    outbox = elsewhere.governance.outbox
    [request] = [entry for entry in _events(ada.org_id) if entry.action == "audit.export_requested"]
    assert outbox.handle_due("event", ada.org_id, events_pk(ada.org_id), request.event_id)
    status = call(handler, "GET", f"{base}/audit-log/export/{job}/status", headers=ada.headers).body
    assert status["status"] == "completed"
    file = call(handler, "GET", f"{base}/audit-log/export/{job}/file", headers=ada.headers)
    assert len([json.loads(line) for line in file.raw.splitlines()]) == status["record_count"] >= 5
    rows = call(handler, "GET", f"{base}/executions", headers=ada.headers).body
    assert [row["id"] for row in rows["executions"]] == [operation.execution_id]
    detail = call(handler, "GET", f"{base}/executions/{operation.execution_id}", headers=ada.headers).body
    assert [event["type"] for event in detail["events"]] == ["gate.block"]
    AuditEntry(audit_pk(ada.org_id), entry_sk(3)).delete()
    broken = call(handler, "GET", f"{base}/audit-log/verify", headers=ada.headers).body
    assert (broken["first_failure_reason"], broken["first_failure_number"]) == ("missing_entry", 3)


def _events(org_id: str) -> list[Event]:
    return list(Event.query(events_pk(org_id)))
