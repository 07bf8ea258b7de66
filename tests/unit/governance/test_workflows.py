"""Workflows. Source: NullRun docs, HTTP API, Workflows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.governance import workflows as module
from shared.governance.money import LARGEST_CENTS, MICRO, UNLIMITED
from shared.governance.orgsettings import org_settings
from shared.governance.states import EVENTS, STATES, Change, next_state
from shared.governance.workflow_forms import Draft
from shared.governance.workflow_views import WorkflowView
from shared.governance.workflows import Workflows, records_of
from shared.kit import json
from shared.kit.errors import Conflict, Forbidden, NotFound, Unavailable, Unprocessable
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import OrgSettings, Purse, Workflow, workflows_pk
from shared.store.models.policies import Policy, policies_pk
from shared.store.transaction import Transaction, read
from tests.support.time import HeldClock
from tests.support.workflows import (
    ORG,
    OTHER_ORG,
    at_once,
    events_of,
    frames_of,
    key_principal,
    member,
    on_plan,
    purse_of,
    the_workflows,
)

OPERATOR = member()


@pytest.fixture
def workflows(store: EmbeddedEngine) -> Workflows:
    return the_workflows()


def make(workflows: Workflows, **fields: Any) -> WorkflowView:
    return workflows.create(OPERATOR, Draft(**{"name": "bot", **fields}))


def in_state(workflow_id: str, state: str) -> None:
    Transaction().update(purse_of(workflow_id), [Purse.state.set(state)]).commit()


def limit_workflow(workflow_id: str, budget_cents: int) -> None:
    """A budget policy of a workflow, and the version of policies that comes with it."""
    policy = Policy(
        policies_pk(ORG), "p-1", policy_id="p-1", org_id=ORG, name="limit", policy_type="BudgetLimit",
        scope="workflow", scope_id=workflow_id, enabled=True, priority=100, enforcement_mode="Hard",
        config=json.dumps({"budget_cents": budget_cents}), revision=1, created_ms=1, updated_ms=1,
    )  # fmt: skip
    chosen = org_settings(ORG)
    next_version = OrgSettings.policy_version.set(chosen.policy_version + 1)
    Transaction().put(policy).update(chosen, [next_version]).commit()


def first_time(monkeypatch: pytest.MonkeyPatch, name: str, meanwhile: Callable[[], object]) -> None:
    """Have something happen right after the service's first call of a function it uses."""
    real, pending = getattr(module, name), [meanwhile]

    def called(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        if pending:
            pending.pop()()
        return found

    monkeypatch.setattr(module, name, called)


# Making


def test_create(workflows: Workflows, held: HeldClock) -> None:
    """The workflow as asked for, with a purse of its budget, in its first period, and one event."""
    made = make(workflows, external_id="bot-1", description="d", budget_cents=5000, human_approvals_enabled=True)
    now = held.now_ms()
    assert (made.name, made.external_id, made.description, made.budget_cents) == ("bot", "bot-1", "d", 5000)
    assert (made.state, made.version, made.reason, made.spent_cents, made.key_count) == ("Normal", 1, None, 0, 0)
    assert made.human_approvals_enabled
    assert made.period_start_ms <= now < made.period_end_ms
    assert workflows.get(OPERATOR, made.id) == made
    purse = purse_of(made.id)
    assert (purse.cap, purse.available, purse.policy_version) == (5000 * MICRO, 5000 * MICRO, 1)
    (event,) = events_of()
    assert (event.action, event.workflow_id, event.actor_id) == ("workflow.created", made.id, "acc-1")


@pytest.mark.parametrize("budget", [None, 0])
def test_without_a_budget(workflows: Workflows, budget: int | None) -> None:
    """Neither 0 nor nothing is a budget: the purse has no limit of its own."""
    assert purse_of(make(workflows, budget_cents=budget).id).cap == UNLIMITED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "bot\nYour account is locked"),
        ("name", "bot\u2028"),
        ("name", "bot\x00"),
        ("name", None),
        ("name", "x" * 256),
        ("external_id", ""),
        ("external_id", "x" * 65),
        ("external_id", "a b"),
        ("external_id", "ä"),
        ("external_id", "a\n"),
        ("description", "x" * 2001),
        ("budget_cents", -1),
        ("budget_cents", LARGEST_CENTS + 1),
        ("budget_cents", 1.5),
        ("budget_cents", True),
        ("human_approvals_enabled", None),
        ("human_approvals_enabled", 1),
    ],
)
def test_bad_fields(workflows: Workflows, field: str, value: Any) -> None:
    """A bad field is named, at making and at changing, and nothing is written."""
    with pytest.raises(Unprocessable) as refused:
        make(workflows, **{field: value})
    assert refused.value.details is not None
    assert refused.value.details["field"] == field
    assert records_of(ORG) == []
    known = make(workflows)
    with pytest.raises(Unprocessable):
        workflows.update(OPERATOR, known.id, {field: value})
    assert workflows.get(OPERATOR, known.id) == known


def test_the_same_id_makes_one(workflows: Workflows) -> None:
    """A repeated request gets the workflow that the first one made, even if its own id is taken by that one."""
    first = workflows.create(OPERATOR, Draft("bot", "bot-1"), workflow_id="w-1")
    again = workflows.create(OPERATOR, Draft("bot", "bot-1"), workflow_id="w-1")
    assert again == first
    assert len(records_of(ORG)) == 1


def test_create_needs_an_operator(workflows: Workflows) -> None:
    """Neither viewers nor API keys change anything."""
    for weak in (member("viewer"), key_principal()):
        with pytest.raises(Forbidden):
            workflows.create(weak, Draft("bot"))
    assert records_of(ORG) == []


def test_external_ids_are_unique_in_an_org(workflows: Workflows) -> None:
    """The second workflow with an id is refused; another org may have it."""
    make(workflows, external_id="bot-1")
    with pytest.raises(Conflict):
        make(workflows, external_id="bot-1")
    assert workflows.create(member(org_id=OTHER_ORG), Draft("bot", "bot-1")).external_id == "bot-1"
    assert len(records_of(ORG)) == 1


def test_create_races_for_an_external_id(workflows: Workflows) -> None:
    """Of those who ask at once one wins, the others are told that it is taken."""
    results = at_once(*(lambda: make(workflows, external_id="bot-1") for _ in range(6)))
    assert [type(result) for result in results].count(WorkflowView) == 1
    assert [type(result) for result in results].count(Conflict) == 5
    assert len(records_of(ORG)) == 1
    assert len(events_of()) == 1


def test_create_sees_policies_that_change_meanwhile(workflows: Workflows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cap computed from policies that are not the current ones any more is never stored."""
    first_time(monkeypatch, "cap_of", lambda: limit_workflow("w-1", 300))
    workflows.create(OPERATOR, Draft("bot", budget_cents=5000), workflow_id="w-1")
    purse = purse_of("w-1")
    assert (purse.cap, purse.policy_version) == (300 * MICRO, 2)


def test_the_first_workflow(workflows: Workflows) -> None:
    """One called default, once, however often and by how many it is asked for; a workflow that is there is enough."""
    found = at_once(*(lambda: workflows.ensure_first(ORG) for _ in range(4)))
    assert {view.id for view in found if isinstance(view, WorkflowView)} == {records_of(ORG)[0].workflow_id}
    assert len(found) == 4
    assert workflows.ensure_first(ORG).name == "default"
    other = workflows.create(member(org_id=OTHER_ORG), Draft("mine"))
    assert workflows.ensure_first(OTHER_ORG) == other


def test_the_plan_limits_workflows(store: EmbeddedEngine) -> None:
    """With plans enforced one workflow too many is refused, under races too; a deleted one makes room."""
    workflows = the_workflows(plan_enforcement=True)
    on_plan("lite")
    results = at_once(*(lambda: make(workflows) for _ in range(6)))
    assert [type(result) for result in results].count(WorkflowView) == 3
    with pytest.raises(Unprocessable) as refused:
        make(workflows)
    assert refused.value.code == "workflow_limit_reached"
    assert refused.value.details == {"resource": "workflows", "current": 3, "limit": 3}
    workflows.delete(OPERATOR, records_of(ORG)[0].workflow_id)
    make(workflows)


def test_without_enforcement_nothing_is_limited(store: EmbeddedEngine) -> None:
    """A plan is only a name until the deployment enforces plans."""
    workflows = the_workflows()
    on_plan("lite")
    for _ in range(4):
        make(workflows)
    assert len(records_of(ORG)) == 4


# Looking


def test_list(workflows: Workflows) -> None:
    """Oldest first, part by part, without the deleted ones and without those of others."""
    made = [make(workflows, name=f"bot {number}").id for number in range(5)]
    workflows.create(member(org_id=OTHER_ORG), Draft("theirs"))
    workflows.delete(OPERATOR, made.pop(1))
    first = workflows.list(key_principal(), limit=3)
    assert ([view.id for view in first.items], first.total, first.more) == (made[:3], 4, True)
    rest = workflows.list(OPERATOR, limit=3, cursor=first.keys[-1])
    assert ([view.id for view in rest.items], rest.total, rest.more) == (made[3:], 4, False)


@pytest.mark.parametrize("workflow_id", ["", "nope", "x" * 5000, "a/b", "ü"])
def test_unknown_ids(workflows: Workflows, workflow_id: str) -> None:
    """Whatever is no id of a workflow of the org is not found."""
    with pytest.raises(NotFound):
        workflows.get(OPERATOR, workflow_id)
    with pytest.raises(NotFound):
        workflows.require(OPERATOR, workflow_id)


def test_other_orgs_do_not_see_it(workflows: Workflows) -> None:
    """Ids of another org do not exist here, for any call."""
    theirs, operator = make(workflows).id, member(org_id=OTHER_ORG)
    for call in (
        lambda: workflows.get(operator, theirs),
        lambda: workflows.update(operator, theirs, {"name": "x"}),
        lambda: workflows.change_state(operator, theirs, "kill"),
        lambda: workflows.delete(operator, theirs),
    ):
        with pytest.raises(NotFound):
            call()
    assert workflows.get(OPERATOR, theirs).state == "Normal"


def test_a_period_that_is_over_shows_nothing_spent(workflows: Workflows, held: HeldClock) -> None:
    """What was spent last month is not this month's, although no call has begun the new period yet."""
    made = make(workflows, budget_cents=100)
    Transaction().update(purse_of(made.id), [Purse.spent.set(40 * MICRO), Purse.minute.set(29_453_760)]).commit()
    seen = workflows.get(OPERATOR, made.id)
    assert (seen.spent_cents, seen.period_start_ms) == (40, made.period_start_ms)
    assert seen.active_ms == 29_453_760 * 60_000
    held.advance(40 * 24 * 3600)
    later = workflows.get(OPERATOR, made.id)
    assert (later.spent_cents, later.period_start_ms) == (0, made.period_end_ms)
    assert later.period_start_ms <= held.now_ms() < later.period_end_ms


# Changing


def test_update(workflows: Workflows, held: HeldClock) -> None:
    """What is named changes, what is not stays, and one event tells both values."""
    made = make(workflows, external_id="bot-1", description="d", budget_cents=100)
    held.advance(5)
    changed = workflows.update(OPERATOR, made.id, {"name": "bot 2", "description": None, "state": "Killed"})
    assert changed == replace(made, name="bot 2", description=None, updated_ms=held.now_ms())
    (event,) = events_of(prefix="workflow.updated")
    assert json.loads(event.details) == {
        "changed": ["description", "name"],
        "before": {"name": "bot", "description": "d"},
        "after": {"name": "bot 2", "description": None},
    }


@pytest.mark.parametrize("changes", [{}, {"state": "Paused"}, {"name": "bot", "budget_cents": 100}])
def test_update_of_nothing(workflows: Workflows, changes: dict[str, Any]) -> None:
    """What is so already is no change and no event."""
    made = make(workflows, budget_cents=100)
    assert workflows.update(OPERATOR, made.id, changes) == made
    assert events_of(prefix="workflow.updated") == []


@pytest.mark.parametrize(("budget", "cap"), [(700, 700 * MICRO), (50, 50 * MICRO), (0, UNLIMITED), (None, UNLIMITED)])
def test_update_of_the_budget(workflows: Workflows, budget: int | None, cap: int) -> None:
    """The purse has the new cap at once; what was spent and reserved stays spent and reserved."""
    made = make(workflows, budget_cents=100)
    spent = [Purse.spent.set(30 * MICRO), Purse.reserved.set(5 * MICRO), Purse.available.set(65 * MICRO)]
    Transaction().update(purse_of(made.id), spent).commit()
    assert workflows.update(OPERATOR, made.id, {"budget_cents": budget}).budget_cents == budget
    purse = purse_of(made.id)
    assert (purse.cap, purse.available) == (cap, cap - 35 * MICRO)
    assert (purse.spent, purse.reserved) == (30 * MICRO, 5 * MICRO)


def test_the_smaller_of_budget_and_policy_counts(workflows: Workflows) -> None:
    """A policy below the new budget stays the limit, even one that has not been carried to the purse yet."""
    made = make(workflows, budget_cents=100)
    limit_workflow(made.id, 300)
    workflows.update(OPERATOR, made.id, {"budget_cents": 5000})
    purse = purse_of(made.id)
    assert (purse.cap, purse.available) == (300 * MICRO, 300 * MICRO)


def test_update_sees_policies_that_change_meanwhile(workflows: Workflows, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a new workflow, the cap is always one of the current policies."""
    made = make(workflows, budget_cents=100)
    first_time(monkeypatch, "cap_of", lambda: limit_workflow(made.id, 300))
    workflows.update(OPERATOR, made.id, {"budget_cents": 5000})
    assert purse_of(made.id).cap == 300 * MICRO


def test_update_of_human_approvals(workflows: Workflows) -> None:
    """As with a rule, the purse has the new version at once, with a cap that changes too, and clients are told."""
    made, other = make(workflows, budget_cents=100), make(workflows)
    workflows.update(OPERATOR, made.id, {"human_approvals_enabled": False})
    assert org_settings(ORG).policy_version == 1
    changes = {"human_approvals_enabled": True, "budget_cents": 700}
    assert workflows.update(OPERATOR, made.id, changes).human_approvals_enabled
    settings = org_settings(ORG)
    assert settings.policy_version == 2 and settings.due_ms is None
    assert [purse_of(workflow.id).policy_version for workflow in (made, other)] == [2, 2]
    assert purse_of(made.id).cap == 700 * MICRO
    (event,) = events_of(prefix="workflow.updated")
    assert frames_of(event) == [
        {"type": "policy_invalidated", "organization_id": ORG, "policy_id": made.id, "new_version": 2}
    ]


def test_human_approvals_that_were_cut_short(workflows: Workflows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again brings to the purses what the first request could not."""
    made = make(workflows)

    def ended(org_id: str) -> int:
        raise Unavailable("The store cannot be reached; try again")

    with monkeypatch.context() as patched:
        patched.setattr(module, "propagate", ended)
        with pytest.raises(Unavailable):
            workflows.update(OPERATOR, made.id, {"human_approvals_enabled": True})
    assert (purse_of(made.id).policy_version, org_settings(ORG).due_ms is None) == (1, False)
    workflows.update(OPERATOR, made.id, {"human_approvals_enabled": True})
    assert purse_of(made.id).policy_version == 2 and org_settings(ORG).due_ms is None
    assert len(events_of(prefix="workflow.updated")) == 1


def test_updates_at_once(workflows: Workflows) -> None:
    """No change of a field is lost to one of another, and the purse's sum stays right."""
    made = make(workflows, budget_cents=100)
    changes: list[dict[str, Any]] = [{"name": "b"}, {"description": "d"}, {"budget_cents": 700}, {"external_id": "e"}]
    at_once(*(lambda change=change: workflows.update(OPERATOR, made.id, change) for change in changes))
    seen = workflows.get(OPERATOR, made.id)
    assert (seen.name, seen.description, seen.budget_cents, seen.external_id) == ("b", "d", 700, "e")
    assert purse_of(made.id).available == 700 * MICRO
    assert len(events_of(prefix="workflow.updated")) == 4


def test_external_ids_move(workflows: Workflows) -> None:
    """A taken id is refused; the one given up is free again."""
    first, second = make(workflows, external_id="one"), make(workflows, external_id="two")
    with pytest.raises(Conflict):
        workflows.update(OPERATOR, second.id, {"external_id": "one"})
    workflows.update(OPERATOR, first.id, {"external_id": None})
    assert workflows.update(OPERATOR, second.id, {"external_id": "one"}).external_id == "one"
    assert make(workflows, external_id="two").external_id == "two"


# Halting


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("change", ["pause", "resume", "kill"])
def test_change_of_state(workflows: Workflows, held: HeldClock, state: str, change: Change) -> None:
    """A change raises the version by one and is told once; one that finds it so already does neither."""
    made = make(workflows)
    in_state(made.id, state)
    if state == "Killed" and change != "kill":
        with pytest.raises(Conflict):
            workflows.change_state(OPERATOR, made.id, change)
        assert purse_of(made.id).state == "Killed"
        return
    aim = next_state(change, state)
    held.advance(7)
    seen = workflows.change_state(OPERATOR, made.id, change, "runaway")
    assert seen == workflows.get(OPERATOR, made.id)
    told = events_of(prefix=EVENTS[change])
    if aim is None:
        assert (seen.state, seen.version, seen.reason, told) == (state, 1, None, [])
        return
    assert (seen.state, seen.version, seen.reason, seen.updated_ms) == (aim, 2, "runaway", held.now_ms())
    (event,) = told
    assert frames_of(event) == [
        {
            "type": "state_change",
            "workflow_id": made.id,
            "state": aim,
            "version": 2,
            "reason": "runaway",
            "updated_at": held.now_ms() // 1000,
        }
    ]


def test_reasons(workflows: Workflows) -> None:
    """500 characters at most; a change without a reason has none, whatever the one before had."""
    made = make(workflows)
    with pytest.raises(Unprocessable):
        workflows.change_state(OPERATOR, made.id, "pause", "x" * 501)
    assert workflows.change_state(OPERATOR, made.id, "pause", "x" * 500).reason == "x" * 500
    assert workflows.change_state(OPERATOR, made.id, "resume").reason is None
    assert purse_of(made.id).state_reason is None


def test_halting_needs_an_operator(workflows: Workflows) -> None:
    """A viewer stops nothing, and a key cannot stop its own workflow."""
    made = make(workflows)
    for weak in (member("viewer"), key_principal()):
        with pytest.raises(Forbidden):
            workflows.change_state(weak, made.id, "kill")
        with pytest.raises(Forbidden):
            workflows.update(weak, made.id, {"name": "x"})
        with pytest.raises(Forbidden):
            workflows.delete(weak, made.id)
    assert workflows.get(OPERATOR, made.id) == made


def test_kill_wins_over_pauses(workflows: Workflows) -> None:
    """Whatever comes at once, a kill stays, and each change of the state has its own version and event."""
    made = make(workflows)
    changes: list[Change] = ["pause", "kill", "resume", "pause", "kill", "resume", "pause", "kill"]
    at_once(*(lambda change=change: workflows.change_state(OPERATOR, made.id, change) for change in changes))
    purse = purse_of(made.id)
    frames = [frame for event in events_of() for frame in frames_of(event)]
    assert purse.state == "Killed"
    assert sorted(frame["version"] for frame in frames) == list(range(2, int(purse.state_version) + 1))
    assert [frame["state"] for frame in frames].count("Killed") == 1


def test_a_pause_that_meets_a_kill(workflows: Workflows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause that saw the workflow alive does not overwrite the kill that came in between."""
    made, other = make(workflows), the_workflows()
    first_time(monkeypatch, "read_each", lambda: other.change_state(OPERATOR, made.id, "kill", "now"))
    with pytest.raises(Conflict):
        workflows.change_state(OPERATOR, made.id, "pause")
    seen = workflows.get(OPERATOR, made.id)
    assert (seen.state, seen.version, seen.reason) == ("Killed", 2, "now")


# Removing


def test_delete(workflows: Workflows) -> None:
    """Killed, listed no more, its external id free, its records kept; told by a frame and two events."""
    made = make(workflows, external_id="bot-1")
    workflows.delete(OPERATOR, made.id)
    with pytest.raises(NotFound):
        workflows.get(OPERATOR, made.id)
    with pytest.raises(NotFound):
        workflows.delete(OPERATOR, made.id)
    purse, record = purse_of(made.id), read(Workflow, workflows_pk(ORG), made.id)
    assert (purse.state, purse.state_reason) == ("Killed", "deleted")
    assert record is not None
    assert record.name == "bot"
    assert [event.action for event in events_of()][1:] == ["workflow.killed", "workflow.deleted"]
    assert make(workflows, external_id="bot-1").external_id == "bot-1"


def test_delete_of_a_killed_one(workflows: Workflows) -> None:
    """The reason of the kill stays; it is not told a second time."""
    made = make(workflows)
    workflows.change_state(OPERATOR, made.id, "kill", "runaway")
    workflows.delete(OPERATOR, made.id)
    assert purse_of(made.id).state_reason == "runaway"
    assert len(events_of(prefix="workflow.killed")) == 1


def test_delete_after_an_interruption(workflows: Workflows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion that broke off shows as killed and is finished by asking again."""
    made = make(workflows)

    def broken(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(workflows._bindings, "remove_all_of_workflow", broken)
        with pytest.raises(ConnectionError):
            workflows.delete(OPERATOR, made.id)
    assert workflows.get(OPERATOR, made.id).state == "Killed"
    workflows.delete(OPERATOR, made.id)
    assert records_of(ORG) == []


def test_deletes_at_once(workflows: Workflows) -> None:
    """One of them deletes, the others find nothing or are done too, and it is told once."""
    made = make(workflows)
    results = at_once(*(lambda: workflows.delete(OPERATOR, made.id) for _ in range(4)))
    assert None in results
    assert {type(result) for result in results} <= {type(None), NotFound}
    assert len(events_of(prefix="workflow.deleted")) == 1
