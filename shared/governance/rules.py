"""Approval rules as the gate uses them: which calls wait for a person.

A rule is about the tools its patterns name, or about every call if it has none. If it has a threshold, the call must
be projected to cost that much or more; if it has a predicate, that must hold; with both, both.
Source: NullRun docs, Human approval; docs/rulings.md#approval-rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.governance.patterns import Pattern, compile_pattern, first_match
from shared.governance.predicates import Predicate, predicate_of
from shared.governance.rule_forms import MAX_PRIORITY
from shared.kit import json
from shared.store.models.policies import Rule

_NO_IMPACT: Mapping[str, Any] = {"kind": "none"}


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """A rule ready for use. ``threshold_cents`` is of the projected cost of one call; one nobody made has no id."""

    rule_id: str | None
    name: str
    priority: int
    created_ms: int
    expires_in_s: int
    risk_level: str
    action_label: str | None = None
    workflow_id: str | None = None
    enabled: bool = True
    patterns: tuple[Pattern, ...] = ()
    threshold_cents: int | None = None
    predicate: Predicate | None = None

    def asks(self, tools: Sequence[str], projected_cents: float, impact: Mapping[str, Any] | None) -> bool:
        """Whether a person decides a call."""
        if self.patterns and first_match(self.patterns, tools) is None:
            return False
        if self.threshold_cents is not None and projected_cents < self.threshold_cents:
            return False
        return self.predicate is None or self.predicate.holds(_NO_IMPACT if impact is None else impact)


EVERY_TOOL = ApprovalRule(
    None, "Human approvals", priority=MAX_PRIORITY + 1, created_ms=0, expires_in_s=300, risk_level="MEDIUM"
)
"""By which every call of a tool waits for a person, of a workflow that has human approvals."""


def compile_rule(record: Rule) -> ApprovalRule:
    """A stored rule, made ready."""
    return ApprovalRule(
        rule_id=record.rule_id, name=record.name, priority=int(record.priority), created_ms=int(record.created_ms),
        expires_in_s=int(record.expires_in_s), risk_level=record.risk_level, action_label=record.action_label,
        workflow_id=record.workflow_id, enabled=bool(record.enabled),
        patterns=tuple(compile_pattern(text) for text in json.loads(record.tool_patterns)),
        threshold_cents=None if record.threshold_cents is None else int(record.threshold_cents),
        predicate=None if record.predicate is None else predicate_of(json.loads(record.predicate)),
    )  # fmt: skip


def rule_for(
    rules: Iterable[ApprovalRule],
    *,
    tools: Sequence[str],
    workflow_id: str,
    projected_cents: float,
    impact: Mapping[str, Any] | None,
) -> ApprovalRule | None:
    """The rule by which a person decides a call: of those that ask, the one of smallest priority, then the oldest."""
    asking = (
        rule
        for rule in rules
        if rule.enabled and rule.workflow_id in (None, workflow_id) and rule.asks(tools, projected_cents, impact)
    )
    return min(asking, key=lambda rule: (rule.priority, rule.created_ms, rule.rule_id or ""), default=None)
