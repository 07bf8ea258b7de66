"""What policies come to for a workflow. Source: NullRun docs, Policies, Combining policies."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from shared.governance import policyset
from shared.governance.money import MICRO, UNLIMITED
from shared.governance.orgsettings import org_settings
from shared.governance.policyset import PolicySet, blocked_by, load_policy_set, policy_set_of, rate_limit
from shared.kit import json
from shared.kit.errors import NotFound
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import OrgSettings, Workflow, workflows_pk
from shared.store.models.policies import Policy, Rule, policies_pk, rules_pk
from shared.store.transaction import Transaction
from tests.support.workflows import ORG, OTHER_ORG

W, OTHER, KEY = "w-1", "w-2", "k-1"
_ages = itertools.count(1)


def policy(
    policy_type: str, config: dict[str, Any], scope: str = "org", scope_id: str | None = None, **more: Any
) -> Policy:
    """A stored policy, younger than those before."""
    age = next(_ages)
    values: dict[str, Any] = {
        "policy_id": f"p-{age:06d}", "org_id": ORG, "name": f"policy {age}", "policy_type": policy_type, "scope": scope,
        "scope_id": scope_id, "enabled": True, "priority": 100, "enforcement_mode": "Hard",
        "config": json.dumps(config), "revision": 1, "created_ms": age, "updated_ms": age,
    } | more  # fmt: skip
    return Policy(policies_pk(values["org_id"]), values["policy_id"], **values)


def budget(
    budget_cents: int, scope: str = "org", scope_id: str | None = None, *, soft: bool = False, **config: int
) -> Policy:
    mode = "Soft" if soft else "Hard"
    return policy("BudgetLimit", {"budget_cents": budget_cents, **config}, scope, scope_id, enforcement_mode=mode)


def block(*patterns: str, scope: str = "org", scope_id: str | None = None, **more: Any) -> Policy:
    return policy("ToolBlock", {"tool_pattern": list(patterns)}, scope, scope_id, **more)


def rate(limit: int, scope: str = "org", scope_id: str | None = None, **more: Any) -> Policy:
    return policy("RateLimit", {"max_calls_per_minute": limit}, scope, scope_id, **more)


def workflow(budget_cents: int | None = None, workflow_id: str = W, org_id: str = ORG) -> Workflow:
    return Workflow(
        workflows_pk(org_id), workflow_id, workflow_id=workflow_id, name="bot", budget_cents=budget_cents,
        created_ms=1, updated_ms=1,
    )  # fmt: skip


def combined(*policies: Policy, budget_cents: int | None = None) -> PolicySet:
    return policy_set_of(7, policies, workflow(budget_cents))


# Blocks


def test_nothing_is_blocked_where_there_is_no_policy() -> None:
    """Without policies everything is allowed and nothing is limited."""
    found = combined()
    assert (found.version, found.workflow_id, found.cap, found.org_cap, found.soft) == (7, W, UNLIMITED, None, None)
    assert (found.max_chain_ms, found.epsilon, found.rules, found.every_tool) == (3_600_000, MICRO, (), None)
    assert blocked_by(found, KEY, ["bash"]) is None
    assert rate_limit(found, KEY) is None


@pytest.mark.parametrize(
    ("scope", "scope_id", "key_id", "expected"),
    [
        ("org", None, KEY, True),
        ("workflow", W, KEY, True),
        ("workflow", OTHER, KEY, False),
        ("api_key", KEY, KEY, True),
        ("api_key", KEY, "k-2", False),
    ],
)
def test_a_policy_is_about_its_scope_alone(scope: str, scope_id: str | None, key_id: str, expected: bool) -> None:
    """Blocks and limits of another workflow or key do not count."""
    found = combined(block("bash", scope=scope, scope_id=scope_id), rate(5, scope, scope_id))
    assert (blocked_by(found, key_id, ["bash"]) is not None) is expected
    assert (rate_limit(found, key_id) is not None) is expected


def test_a_disabled_policy_does_not_count() -> None:
    """Only enabled policies are walked."""
    off = [block("*", enabled=False), rate(1, enabled=False), policy("BudgetLimit", {"budget_cents": 1}, enabled=False)]
    assert combined(*off) == combined()


def test_the_first_policy_that_refuses_is_named() -> None:
    """Smallest priority first, then oldest first; the pattern and the tool are told as they were written."""
    late, early, strong = block("bash"), block("bash"), block("b*", priority=1)
    early.created_ms = 0
    found = blocked_by(combined(late, early, strong), KEY, ["ls", "Bash"])
    assert found is not None
    assert (found[0].policy_id, found[1], found[2]) == (strong.policy_id, "b*", "Bash")
    found = blocked_by(combined(late, early), KEY, ["bash"])
    assert found is not None
    assert (found[0].policy_id, found[0].name) == (early.policy_id, early.name)


def test_every_list_of_patterns_of_a_block_counts() -> None:
    """tool_pattern, blocked_tools and tools are the same thing."""
    lists = {"tool_pattern": ["a"], "blocked_tools": ["b"], "tools": ["c|d"]}
    found = combined(policy("ToolBlock", lists))
    assert [blocked_by(found, KEY, [name]) is not None for name in "abcde"] == [True, True, True, True, False]


def test_the_smallest_limit_of_calls_counts() -> None:
    """Of all limits that concern a key the smallest; of equal ones the first that is walked."""
    first, second = rate(10), rate(10, "workflow", W)
    found = combined(second, first, rate(50), rate(3, "api_key", KEY))
    limit = rate_limit(found, KEY)
    assert limit is not None
    assert (limit.per_minute, limit.scope) == (3, "api_key")
    limit = rate_limit(found, "k-2")
    assert limit is not None
    assert (limit.per_minute, limit.policy_id) == (10, first.policy_id)


# Money


@pytest.mark.parametrize(
    ("own", "limits", "expected", "named"),
    [
        (None, [], UNLIMITED, None),
        (0, [], UNLIMITED, None),
        (500, [], 500 * MICRO, None),
        (None, [300], 300 * MICRO, 0),
        (0, [300], 300 * MICRO, 0),
        (500, [300], 300 * MICRO, 0),
        (200, [300], 200 * MICRO, None),
        (500, [300, 100, 400], 100 * MICRO, 1),
        (500, [0], 0, 0),
        (0, [0], 0, 0),
        (None, [0, 100], 0, 0),
    ],
)
def test_the_cap_of_a_workflow(own: int | None, limits: list[int], expected: int, named: int | None) -> None:
    """The smallest of its own budget, of which 0 is none, and the policies', of which 0 is nothing at all."""
    policies = [budget(limit, "workflow", W) for limit in limits]
    found = combined(*policies, budget_cents=own)
    assert (found.cap, found.cap_policy) == (expected, None if named is None else policies[named].policy_id)


def test_budgets_of_org_and_keys_are_counters_of_their_own() -> None:
    """They do not lower the workflow's cap; of several the smallest counts and is named."""
    ceiling, key = budget(400), budget(20, "api_key", KEY)
    found = combined(
        budget(900),
        ceiling,
        budget(30, "api_key", KEY),
        key,
        budget(50, "api_key", "k-2"),
        budget(1, "workflow", OTHER),
    )
    assert found.cap == UNLIMITED
    assert (found.org_cap, found.org_policy) == (400 * MICRO, ceiling.policy_id)
    assert found.key_caps == {KEY: 20 * MICRO, "k-2": 50 * MICRO}
    assert found.key_policies[KEY] == key.policy_id


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([budget(100, "workflow", W)], None),
        ([budget(100, "workflow", W, soft=True)], (0, UNLIMITED)),
        ([budget(100, "workflow", W, soft=True, max_overdraft_cents=5)], (5 * MICRO, UNLIMITED)),
        ([budget(100, "workflow", W, soft=True, max_overdraft_percent=5)], (UNLIMITED, 5)),
        ([budget(100, soft=True, max_overdraft_cents=5, max_overdraft_percent=0)], (5 * MICRO, 0)),
        (
            [
                budget(100, soft=True, max_overdraft_cents=5, max_overdraft_percent=50),
                budget(100, "workflow", W, soft=True, max_overdraft_cents=9, max_overdraft_percent=10),
            ],
            (5 * MICRO, 10),
        ),
        ([budget(100, soft=True, max_overdraft_cents=5), budget(100, "workflow", W)], None),
        ([budget(100), budget(100, "workflow", W, soft=True, max_overdraft_cents=5)], None),
        ([budget(100, "workflow", OTHER), budget(100, soft=True, max_overdraft_cents=5)], (5 * MICRO, UNLIMITED)),
        ([budget(100, "api_key", KEY), budget(100, soft=True, max_overdraft_cents=5)], (5 * MICRO, UNLIMITED)),
    ],
)
def test_overdrafts(policies: list[Policy], expected: tuple[int, int] | None) -> None:
    """Allowed where every budget of org and workflow is soft; the lowest of each bound counts; no bound is nothing."""
    found = combined(*policies).soft
    assert (None if found is None else (found.max_overdraft, found.max_percent)) == expected


def test_the_strictest_chain_and_epsilon_count() -> None:
    """The shortest duration, never longer than an hour by default, and the smallest excess of a settlement."""
    found = combined(
        budget(1, max_chain_duration_seconds=60, consume_epsilon_cents=3),
        budget(1, "workflow", W, max_chain_duration_seconds=90, consume_epsilon_cents=2),
        budget(1, "workflow", OTHER, max_chain_duration_seconds=1, consume_epsilon_cents=0),
    )
    assert (found.max_chain_ms, found.epsilon) == (60_000, 2 * MICRO)
    assert combined(budget(1, max_chain_duration_seconds=7200)).max_chain_ms == 3_600_000
    assert combined(budget(1, consume_epsilon_cents=0)).epsilon == 0


# Loading


def rule(rule_id: str, priority: int = 100, **more: Any) -> Rule:
    values: dict[str, Any] = {
        "rule_id": rule_id, "org_id": ORG, "name": rule_id, "priority": priority, "expires_in_s": 300,
        "risk_level": "LOW", "revision": 1, "created_ms": 1, "updated_ms": 1,
    }  # fmt: skip
    return Rule(rules_pk(ORG), rule_id, **(values | more))


def test_a_set_is_loaded_for_one_workflow_of_one_org(store: EmbeddedEngine) -> None:
    """Policies and rules of other orgs, of other workflows and disabled rules are not in it; rules are in order."""
    mine = block("bash")
    for record in (
        workflow(500), workflow(None, W, OTHER_ORG), mine, block("*", org_id=OTHER_ORG, policy_id="p-x"),
        rule("r-2"), rule("r-1", 1), rule("r-3", enabled=False), rule("r-4", workflow_id=OTHER),
        rule("r-5", workflow_id=W),
    ):  # fmt: skip
        record.save()
    found = load_policy_set(ORG, W)
    assert [entry.policy_id for entry in found.blocks] == [mine.policy_id]
    assert [entry.rule_id for entry in found.rules] == ["r-1", "r-2", "r-5"]
    assert (found.cap, found.version) == (500 * MICRO, org_settings(ORG).policy_version)
    assert [entry.policy_id for entry in load_policy_set(OTHER_ORG, W).blocks] == ["p-x"]


def test_a_workflow_that_is_not_there_has_no_set(store: EmbeddedEngine) -> None:
    """Another org's workflow is none."""
    workflow(None, W, OTHER_ORG).save()
    with pytest.raises(NotFound):
        load_policy_set(ORG, W)


def test_a_set_is_never_labelled_newer_than_it_is(store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change while the set is read may be in it, but its version is the one from before."""
    workflow().save()
    before = int(org_settings(ORG).policy_version)
    real = policyset.read_policies

    def meanwhile(org_id: str) -> list[Policy]:
        block("bash").save()
        Transaction().update(org_settings(ORG), [OrgSettings.policy_version.set(before + 1)]).commit()
        return real(org_id)

    monkeypatch.setattr(policyset, "read_policies", meanwhile)
    found = load_policy_set(ORG, W)
    assert len(found.blocks) == 1
    assert found.version == before


def test_a_workflow_with_human_approvals_has_a_rule_for_every_tool() -> None:
    """One that nobody made, so it has no id."""
    record = workflow()
    record.human_approvals_enabled = True
    rule = policy_set_of(7, [], record).every_tool
    assert rule is not None
    assert (rule.rule_id, rule.name, rule.expires_in_s, rule.risk_level) == (None, "Human approvals", 300, "MEDIUM")
