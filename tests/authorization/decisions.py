"""Who may do what: one decision for every route and every kind of caller.

Sources: FlowRunner API Reference; NullRun docs, HTTP API, Authentication and Roles; docs/rulings.md#keys-and-sessions.
"""

from __future__ import annotations

from tests.authorization.rows import (
    Row,
    administrators,
    agents,
    anybody,
    both,
    changing,
    listing,
    making,
    managed,
    org_listing,
    org_people,
    org_reading,
    own,
    owners_to_find,
    public,
    reading,
    unless_signed_in,
)

DECISIONS: dict[str, Row] = {
    # auth: credentials are in the body, not in a header
    "login": public(200),
    "login_legacy": public(200),
    "refresh": anybody(200, with_orgs=True),
    "logout": anybody(200),
    "end_session": anybody(204),
    "register": public(201),
    # The deployment has no provider set up.
    "start_oauth": public(501),
    "register_oauth": public(501),
    # accounts
    "list_accounts": administrators(200),
    "create_account": administrators(201),
    "get_my_account": anybody(200),
    "refresh_token": anybody(200, with_orgs=True),
    "get_account": managed(200),
    "update_account": managed(200),
    # The owner's org has other members and no other owner, so not even those who may can delete the account.
    "delete_account": managed(409),
    # secrets
    "list_secrets": own(200),
    "create_secret": own(201),
    "list_secret_keys": own(200),
    "get_secret": own(200),
    "put_secret": own(201),
    "update_secret": own(200),
    "delete_secret": own(200),
    # flows
    "list_flows": listing(),
    "create_flow": making(201),
    "get_flow": reading(),
    "update_flow": changing(200),
    "delete_flow": changing(200),
    "list_versions": reading(),
    "patch_metadata": changing(204),
    "search_flows": listing(),
    "run_flow": changing(201),
    # executions
    "list_executions": listing(),
    "get_execution": reading(),
    "cancel_execution": changing(200),
    "get_logs": reading(),
    "signal_execution": changing(404),
    "pause_execution": changing(200),
    "resume_execution": changing(200),
    # gate: an agent asks for itself, in the workflow of its key
    "verify": agents(foreign=200, intruding=200),
    "capabilities": public(200),
    "gate": agents(foreign=200, intruding=403),
    "check": agents(unscoped=200, foreign=200, intruding=403),
    # The execution is another key's; in another org there is none.
    "execute": agents(sibling=403, foreign=404, intruding=403),
    "cancel": agents(unscoped=200, sibling=404, foreign=404, intruding=404),
    # A chain belongs to the org, and each of its keys may go on with it.
    "heartbeat": agents(unscoped=200, foreign=404, intruding=404),
    # Any key of the org may say that the decision was heard: docs/rulings.md#approvals.
    "consume": agents(unscoped=200, foreign=404, intruding=404),
    # Each key is told of its own workflow, whatever it calls it.
    "status": both(reading(), agents(unscoped=200, foreign=200, intruding=200)),
    "approximate": both(listing(), agents(unscoped=200, foreign=200, intruding=200)),
    # tracking: what is reported is charged to the workflow of the key, also for a reservation it does not have
    "track": agents(foreign=200, intruding=200),
    "track_batch": agents(foreign=200, intruding=200),
    # workflows
    "list_workflows": org_listing(),
    "create_workflow": org_people(201, "operator", elsewhere=201),
    "get_workflow": org_reading(),
    "update_workflow": org_people(200, "operator"),
    "delete_workflow": org_people(204, "operator"),
    "pause_workflow": org_people(200, "operator"),
    "resume_workflow": org_people(200, "operator"),
    "kill_workflow": org_people(200, "operator"),
    "list_governed_definitions": org_reading(),
    "get_governed_definition": org_reading(),
    "bind_definition": org_people(200, "operator"),
    "unbind_definition": org_people(204, "operator"),
    # api-keys
    "list_api_keys": org_people(200, elsewhere=200),
    "mint_api_key": org_people(201, "operator"),
    "delete_api_key": org_people(204, "operator"),
    "revoke_api_key": org_people(204, "operator"),
    "rotate_api_key": org_people(200, "operator"),
    "list_workflow_api_keys": org_people(200),
    "mint_workflow_api_key": org_people(201, "operator"),
    "list_api_keys_of_workflow": reading(),
    # policies
    "list_policies": org_listing(),
    "create_policy": org_people(201, "operator", elsewhere=201),
    "update_policy": org_people(200, "operator"),
    "delete_policy": org_people(204, "operator"),
    "switch_policy": org_people(200, "operator"),
    "toggle_policy": changing(200),
    "list_templates": org_listing(),
    # The owner's org has it enabled already.
    "enable_template": org_people(200, "operator", elsewhere=201),
    # Where it is not enabled there is nothing to do: docs/rulings.md#policy-templates.
    "disable_template": org_people(204, "operator", elsewhere=204),
    # approvals
    "list_approval_rules": org_listing(),
    "create_approval_rule": org_people(201, "operator", elsewhere=201),
    "get_approval_rule": org_reading(),
    "update_approval_rule": org_people(200, "operator"),
    "delete_approval_rule": org_people(204, "operator"),
    "list_approvals": org_listing(),
    "get_approval": org_reading(),
    "approve": org_people(200, "operator"),
    "deny": org_people(200, "operator"),
    # audit
    "list_governed_executions": org_listing(),
    "get_governed_execution": org_reading(),
    "list_audit_log": org_listing(),
    "verify_audit_log": org_listing(),
    "list_exports": org_listing(),
    "create_export": org_listing(),
    "get_export": org_reading(),
    "get_export_file": org_reading(),
    # organizations
    "list_plans": public(200),
    "list_orgs": anybody(200, with_orgs=True),
    "get_org": org_people(200, elsewhere=200),
    "update_org": org_people(200, "owner", elsewhere=200),
    # It has other members. A stranger deletes its own org.
    "delete_org": owners_to_find(409, elsewhere=204),
    "list_members": org_people(200, elsewhere=200),
    "update_member": org_people(200, "admin"),
    "remove_member": org_people(204, "admin"),
    "list_invites": org_people(200, "admin", elsewhere=200),
    "create_invite": org_people(201, "admin", elsewhere=201),
    "revoke_invite": org_people(204, "admin"),
    "resend_invite": org_people(200, "admin"),
    # The invite's token is what counts. It is to another address than those that are signed in.
    "get_invite": public(200),
    "accept_invite": unless_signed_in(200, 409),
    "decline_invite": public(200),
    # alerts
    "list_alerts": org_listing(),
    "dismiss_alert": org_people(200, "operator"),
    "list_alert_channels": org_listing(),
    "create_alert_channel": org_people(201, "admin", elsewhere=201),
    "update_alert_channel": org_people(200, "admin"),
    "delete_alert_channel": org_people(204, "admin"),
    "test_alert_channel": org_people(200, "admin"),
    "list_alert_deliveries": org_reading(),
    "get_notification_settings": org_people(200, elsewhere=200),
    "update_notification_settings": org_people(200, elsewhere=200),
    "get_org_status": org_listing(),
    "get_org_quota": org_listing(),
    "get_org_usage": org_listing(),
    "get_org_dashboard": org_listing(),
    # system
    "root": public(200),
    "health": public(200),
    "healthz": public(200),
    "live": public(200),
    "api_health": public(200),
    "ready": public(200),
    "startup": public(200),
    "list_plugins_at_root": public(200),
    "list_plugins": public(200),
    "get_plugin_at_root": public(200),
    "get_plugin": public(200),
}
"""Every route of the OpenAPI document."""
