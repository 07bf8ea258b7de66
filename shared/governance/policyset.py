"""What the policies of an org come to for one workflow: patterns, limits, budgets and approval rules, ready for use.

Policies are walked by priority, then by age. The first that refuses is the one that is named, and each limit is checked
on its own, so that the strictest always gets its chance and nothing undoes a refusal.
Source: NullRun docs, Policies; docs/rulings.md#policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from shared.governance.money import MICRO, UNLIMITED, micro
from shared.governance.orgsettings import org_settings
from shared.governance.patterns import Pattern, compile_pattern, first_match
from shared.kit import json
from shared.kit.errors import NotFound
from shared.store.models.governance import Workflow, workflows_pk
from shared.store.models.policies import Policy, Rule, policies_pk, rules_pk
from shared.store.transaction import read

if TYPE_CHECKING:
    from shared.governance.rules import ApprovalRule

PolicyType: TypeAlias = Literal["BudgetLimit", "RateLimit", "ToolBlock"]
PolicyScope: TypeAlias = Literal["org", "workflow", "api_key"]

PATTERN_LISTS = ("tool_pattern", "blocked_tools", "tools")
"""The settings of a ToolBlock that list patterns; all of them count."""

CHAIN_S = 3600
"""Seconds a chain lasts at most where no policy says less."""


@dataclass(frozen=True, slots=True)
class Block:
    """Tools that are blocked: for one key only if ``key_id`` is there."""

    policy_id: str
    name: str
    patterns: tuple[Pattern, ...]
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Calls of one key in a minute: of this one only if ``key_id`` is there."""

    policy_id: str
    name: str
    per_minute: int
    scope: PolicyScope
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Soft:
    """A workflow's budget may be overdrawn, inside a chain, by the lower of two bounds.

    ``max_overdraft`` is in micro-cents, ``max_percent`` a share of the cap; one that nobody gave is UNLIMITED.
    """

    max_overdraft: int
    max_percent: int

    def limit(self, cap: int) -> int:
        """By how many micro-cents a budget of ``cap`` may be exceeded."""
        return self.max_overdraft if self.max_percent == UNLIMITED else min(self.max_overdraft, self._share(cap))

    def _share(self, cap: int) -> int:
        return cap * self.max_percent // 100


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies of one workflow. Money is in micro-cents.

    It is at least as new as ``version`` says. ``cap`` is the workflow's own, UNLIMITED without one; ``org_cap`` the
    ceiling of the org, None without one; ``key_caps`` the budgets of single keys. ``cap_policy`` and the like name the
    policy that a number comes from, where one does. ``soft`` is None where money is a hard limit. ``epsilon`` is by how
    much a settlement may exceed its reservation. ``every_tool`` is there where the workflow has human approvals: the
    rule for calls of tools that none of ``rules`` asks about.
    """

    version: int
    workflow_id: str
    blocks: tuple[Block, ...] = ()
    rates: tuple[RateLimit, ...] = ()
    cap: int = UNLIMITED
    cap_policy: str | None = None
    org_cap: int | None = None
    org_policy: str | None = None
    key_caps: Mapping[str, int] = field(default_factory=dict)
    key_policies: Mapping[str, str] = field(default_factory=dict)
    soft: Soft | None = None
    max_chain_ms: int = CHAIN_S * 1000
    epsilon: int = MICRO
    rules: tuple[ApprovalRule, ...] = ()
    every_tool: ApprovalRule | None = None


@dataclass(frozen=True, slots=True)
class Active:
    """A policy that is enabled, with its settings read."""

    policy_id: str
    name: str
    type: str
    scope: PolicyScope
    scope_id: str | None
    is_soft: bool
    config: Mapping[str, Any]

    def concerns(self, workflow_id: str) -> bool:
        """Whether it is about a workflow, or about keys, which may be the workflow's."""
        return self.scope != "workflow" or self.scope_id == workflow_id

    @property
    def key_id(self) -> str | None:
        """The only key it is about, if it is about one."""
        return self.scope_id if self.scope == "api_key" else None


def load_policy_set(org_id: str, workflow_id: str) -> PolicySet:
    """The policies of a workflow as they are now. Raises NotFound.

    The version is read first: whatever changes meanwhile makes the set newer than it says, never older.
    """
    version = int(org_settings(org_id).policy_version)
    policies = read_policies(org_id)
    rules = list(Rule.query(rules_pk(org_id), consistent_read=True))
    workflow = read(Workflow, workflows_pk(org_id), workflow_id)
    if workflow is None:
        raise NotFound("There is no such workflow")
    return policy_set_of(version, policies, workflow, rules)


def read_policies(org_id: str) -> list[Policy]:
    """Every policy of the org, oldest first, read consistently."""
    return list(Policy.query(policies_pk(org_id), consistent_read=True))


def policy_set_of(
    version: int, policies: Iterable[Policy], workflow: Workflow, rules: Iterable[Rule] = ()
) -> PolicySet:
    """What policies and rules of an org come to for a workflow."""
    workflow_id = workflow.workflow_id
    walked = [policy for policy in active(policies) if policy.concerns(workflow_id)]
    cap, cap_policy = workflow_cap(walked, workflow_id, workflow.budget_cents)
    org_cap, org_policy = org_ceiling(walked)
    keys = key_budgets(walked)
    return PolicySet(
        version=version,
        workflow_id=workflow_id,
        blocks=tuple(_block(policy) for policy in walked if policy.type == "ToolBlock"),
        rates=tuple(_rate(policy) for policy in walked if policy.type == "RateLimit"),
        cap=cap,
        cap_policy=cap_policy,
        org_cap=org_cap,
        org_policy=org_policy,
        key_caps={key_id: amount for key_id, (amount, _) in keys.items()},
        key_policies={key_id: policy_id for key_id, (_, policy_id) in keys.items()},
        # A workflow's own budget says nothing of being exceeded, so where it is the smallest it is hard.
        soft=None if cap_policy is None and cap < UNLIMITED else _soft(walked),
        max_chain_ms=min((CHAIN_S, *_settings(walked, "max_chain_duration_seconds"))) * 1000,
        epsilon=min((micro(amount) for amount in _settings(walked, "consume_epsilon_cents")), default=MICRO),
        rules=_rules(rules, workflow_id),
        every_tool=_every_tool() if workflow.human_approvals_enabled else None,
    )


def active(policies: Iterable[Policy]) -> list[Active]:
    """The enabled ones in the order in which they are walked."""
    found = sorted((policy for policy in policies if policy.enabled), key=walking_order)
    return [
        Active(
            policy.policy_id, policy.name, policy.policy_type, cast("PolicyScope", policy.scope), policy.scope_id,
            policy.enforcement_mode == "Soft", json.loads(policy.config),
        )
        for policy in found
    ]  # fmt: skip


def walking_order(record: Policy | Rule) -> tuple[int, int, str]:
    """Sorts policies, and rules, as they are walked: smallest priority first, then oldest first."""
    return int(record.priority), int(record.created_ms), record.sk


def workflow_cap(policies: Sequence[Active], workflow_id: str, budget_cents: float | None) -> tuple[int, str | None]:
    """A workflow's cap and the policy it comes from: its own budget unless that is 0, or a policy's if smaller."""
    own = micro(int(budget_cents)) if budget_cents else UNLIMITED
    limits = (policy for policy in _budgets(policies) if policy.scope == "workflow" and policy.scope_id == workflow_id)
    smallest, policy_id = _smallest(limits)
    return (own, None) if smallest is None or own < smallest else (smallest, policy_id)


def org_ceiling(policies: Sequence[Active]) -> tuple[int | None, str | None]:
    """The ceiling of the whole org and the policy it comes from; None without one."""
    return _smallest(policy for policy in _budgets(policies) if policy.scope == "org")


def key_budgets(policies: Sequence[Active]) -> dict[str, tuple[int, str]]:
    """The budget of each key that has one, and the policy it comes from."""
    found: dict[str, tuple[int, str]] = {}
    for policy in _budgets(policies):
        if policy.key_id is not None:
            budget = _budget(policy), policy.policy_id
            found[policy.key_id] = min(found.get(policy.key_id, budget), budget, key=lambda row: row[0])
    return found


def blocked_by(policy_set: PolicySet, key_id: str, tools: Sequence[str]) -> tuple[Block, str, str] | None:
    """The first policy that blocks one of the tools, the pattern that is about it, and the tool."""
    for block in policy_set.blocks:
        if block.key_id in (None, key_id):
            found = first_match(block.patterns, tools)
            if found is not None:
                return block, *found
    return None


def rate_limit(policy_set: PolicySet, key_id: str) -> RateLimit | None:
    """The smallest limit of a key's calls in a minute; of equal ones the first."""
    limits = (limit for limit in policy_set.rates if limit.key_id in (None, key_id))
    return min(limits, key=lambda limit: limit.per_minute, default=None)


def _budgets(policies: Iterable[Active]) -> Iterable[Active]:
    return (policy for policy in policies if policy.type == "BudgetLimit")


def _budget(policy: Active) -> int:
    return micro(policy.config["budget_cents"])


def _smallest(policies: Iterable[Active]) -> tuple[int | None, str | None]:
    found = min(policies, key=_budget, default=None)
    return (None, None) if found is None else (_budget(found), found.policy_id)


def _settings(policies: Iterable[Active], name: str) -> list[int]:
    """The values of a setting among the budgets that are not one key's."""
    return [policy.config[name] for policy in _budgets(policies) if policy.key_id is None and name in policy.config]


def _soft(policies: Iterable[Active]) -> Soft | None:
    """Overdrafts are allowed where every budget is soft; the smallest bounds count."""
    budgets = [policy for policy in _budgets(policies) if policy.key_id is None]
    if not budgets or not all(policy.is_soft for policy in budgets):
        return None
    amounts, percents = _settings(budgets, "max_overdraft_cents"), _settings(budgets, "max_overdraft_percent")
    if any(not policy.config.keys() & {"max_overdraft_cents", "max_overdraft_percent"} for policy in budgets):
        amounts.append(0)
    return Soft(min(map(micro, amounts), default=UNLIMITED), min(percents, default=UNLIMITED))


def _block(policy: Active) -> Block:
    texts = [text for name in PATTERN_LISTS for text in policy.config.get(name, ())]
    return Block(policy.policy_id, policy.name, tuple(map(compile_pattern, texts)), policy.key_id)


def _rate(policy: Active) -> RateLimit:
    limit = policy.config["max_calls_per_minute"]
    return RateLimit(policy.policy_id, policy.name, limit, policy.scope, policy.key_id)


def _rules(rules: Iterable[Rule], workflow_id: str) -> tuple[ApprovalRule, ...]:
    found = [rule for rule in rules if rule.enabled and rule.workflow_id in (None, workflow_id)]
    if not found:
        return ()
    # Most workflows have none, and then the gate does without what rules need.
    from shared.governance.rules import compile_rule

    return tuple(compile_rule(rule) for rule in sorted(found, key=walking_order))


def _every_tool() -> ApprovalRule:
    from shared.governance.rules import EVERY_TOOL

    return EVERY_TOOL
