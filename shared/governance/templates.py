"""Policies to begin with, made by name. Source: NullRun docs, Policies, Templates; docs/rulings.md#policy-templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.governance.policyset import PolicyType

_DATABASES = ("sql", "db", "database", "postgres", "mysql", "sqlite")


@dataclass(frozen=True, slots=True)
class Template:
    """A policy that only has to be switched on; ``plan`` is the smallest plan that has its type."""

    id: str
    name: str
    description: str
    policy_type: PolicyType
    config: Mapping[str, Any]
    plan: str = "lite"


def _blocked(template_id: str, name: str, description: str, *patterns: str) -> Template:
    return Template(template_id, name, description, "ToolBlock", {"tool_pattern": list(patterns)}, "growth")


def _budget(dollars: int) -> Template:
    return Template(
        f"monthly-budget-{dollars}",
        f"${dollars} monthly budget",
        f"The organisation spends ${dollars} in a billing period at most; each call beyond is refused.",
        "BudgetLimit",
        {"budget_cents": dollars * 100},
    )


TEMPLATES: Mapping[str, Template] = {
    template.id: template
    for template in (
        Template(
            "cap-dev-workflow",
            "Cap dev workflow at 100 calls/min",
            "Each API key makes 100 calls a minute at most; name a workflow_id to cap only that one.",
            "RateLimit",
            {"max_calls_per_minute": 100},
        ),
        _blocked(
            "block-shell",
            "Block shell tools",
            "Nothing runs commands: bash, sh, shell, exec and whatever lies below them.",
            *(f"{name}.*" for name in ("bash", "sh", "zsh", "shell", "terminal", "exec", "powershell", "cmd")),
            *("*shell_exec*", "*execute_command*", "*run_command*", "*subprocess*"),
        ),
        _blocked(
            "block-destructive-sql",
            "Block destructive SQL",
            "Nothing drops, truncates or deletes in a database.",
            *(f"{base}.{verb}*" for base in _DATABASES for verb in ("drop", "truncate", "delete")),
            *("*drop_table*", "*drop_database*", "*truncate_table*", "*delete_rows*"),
        ),
        _blocked(
            "block-outbound-messages",
            "Block outbound messages",
            "Nothing sends mail, text messages, chat messages or web hooks.",
            *(f"{name}.*" for name in ("email", "mail", "smtp", "sms", "slack", "twilio", "sendgrid", "webhook")),
            *("*send_email*", "*send_mail*", "*send_message*", "*send_sms*", "*post_message*"),
        ),
        _budget(5),
        _budget(50),
    )
}
"""Every template by its id."""
