"""The parts of governance, each built when first asked for: the gate's function loads its own and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from shared.kit import clock

if TYPE_CHECKING:
    from shared.governance.alerts import Alerts
    from shared.governance.aliases import Aliases
    from shared.governance.allowances import Allowances
    from shared.governance.approvals import Approvals
    from shared.governance.audit import Audit
    from shared.governance.authentication import KeyAuthenticator
    from shared.governance.batches import Batches
    from shared.governance.bindings import Bindings
    from shared.governance.chains import Chains
    from shared.governance.channels import AlertChannels
    from shared.governance.control import ControlPlane
    from shared.governance.dashboard import Dashboard
    from shared.governance.deliveries import Deliveries
    from shared.governance.dispatch import Dispatch, Submit
    from shared.governance.executing import Executing
    from shared.governance.executions import Executions, FlowRuns
    from shared.governance.exports import Exports
    from shared.governance.flowcommands import FlowCommands, Runs
    from shared.governance.flowgate import FlowGate
    from shared.governance.gate import Gate
    from shared.governance.invites import Invites
    from shared.governance.keys import ApiKeys
    from shared.governance.members import Members
    from shared.governance.notifications import Notifications
    from shared.governance.oauth import OAuth
    from shared.governance.orgs import Orgs
    from shared.governance.outbox import Outbox
    from shared.governance.policies import Policies
    from shared.governance.ports import MailSender
    from shared.governance.quota import Quotas
    from shared.governance.registration import Registration
    from shared.governance.reservations import Reservations
    from shared.governance.ruleservice import ApprovalRules
    from shared.governance.spend import Spend
    from shared.governance.status import Statuses
    from shared.governance.sweep import GovernanceSweep
    from shared.governance.touches import Touches
    from shared.governance.tracking import Tracking
    from shared.governance.workflows import Workflows
    from shared.identity import Departure, Identity
    from shared.kit.settings import Settings
    from shared.outbound import OutboundClient
    from shared.store.blobs import Blobs
    from shared.store.models.governance import Event
    from shared.vault import Envelope


@dataclass(frozen=True, slots=True)
class Outlets:
    """The ways out of governance, each built when first used."""

    envelope: Callable[[], Envelope]
    outbound: Callable[[], OutboundClient]
    mail: Callable[[], MailSender]
    blobs: Callable[[], Blobs]
    control: Callable[[], ControlPlane]
    flows: Callable[[], FlowRuns]
    identity: Callable[[], Identity]
    runs: Callable[[], Runs]
    background: Callable[[], Submit | None]


class Governance:
    """The services of governance over the installed store."""

    def __init__(self, root_secret: bytes, settings: Settings, outlets: Outlets) -> None:
        self._root = root_secret
        self._settings = settings
        self._outlets = outlets

    @cached_property
    def authenticator(self) -> KeyAuthenticator:
        """Who is behind an API key."""
        from shared.governance.authentication import KeyAuthenticator

        return KeyAuthenticator(self._root, max_age_s=self._settings.hmac_max_age_seconds)

    @cached_property
    def keys(self) -> ApiKeys:
        """API keys of an org."""
        from shared.governance.keys import ApiKeys

        return ApiKeys(self._root, self._settings)

    @cached_property
    def touches(self) -> Touches:
        """When keys were last used."""
        from shared.governance.touches import Touches

        return Touches()

    @cached_property
    def allowances(self) -> Allowances:
        """What orgs may ask of the gate beside their policies."""
        from shared.governance.allowances import Allowances

        chosen = self._settings
        return Allowances(
            chosen.org_requests_per_second, enforced=chosen.plan_enforcement, count=self._executions_of_period
        )

    def _executions_of_period(self, org_id: str) -> int:
        from shared.governance.consumption import total, usage_by_day
        from shared.governance.money import period_of
        from shared.governance.orgsettings import org_settings

        period = period_of(int(org_settings(org_id).anchor_ms), clock.now_ms())
        return total(usage for _, usage in usage_by_day(org_id, period.start_ms, period.end_ms)).executions

    @cached_property
    def bindings(self) -> Bindings:
        """Which workflow governs which definition."""
        from shared.governance.bindings import Bindings

        return Bindings()

    @cached_property
    def workflows(self) -> Workflows:
        """Workflows of an org, and their states."""
        from shared.governance.workflows import Workflows

        return Workflows(self._settings, self.keys, self.bindings)

    @cached_property
    def policies(self) -> Policies:
        """Policies of an org, and templates of them."""
        from shared.governance.policies import Policies

        return Policies(self._settings)

    @cached_property
    def aliases(self) -> Aliases:
        """Texts that clients use for workflows."""
        from shared.governance.aliases import Aliases

        return Aliases()

    @cached_property
    def gate(self) -> Gate:
        """May this happen, and is there money for it."""
        from shared.governance.gate import Gate

        return Gate(self.authenticator, lambda: self.approvals)

    @cached_property
    def approvals(self) -> Approvals:
        """Questions put to people."""
        from shared.governance.approvals import Approvals

        return Approvals(self.flow_commands.decided)

    @cached_property
    def flow_commands(self) -> FlowCommands:
        """Tells executions what becomes of the workflow that governs them."""
        from shared.governance.flowcommands import FlowCommands

        return FlowCommands(self._outlets.runs)

    @cached_property
    def flow_gate(self) -> FlowGate:
        """The gate as the engine asks it."""
        from shared.governance.flowgate import FlowGate

        return FlowGate(self.gate, self.tracking, lambda: self.approvals)

    @cached_property
    def approval_rules(self) -> ApprovalRules:
        """Which calls wait for a person."""
        from shared.governance.ruleservice import ApprovalRules

        return ApprovalRules(self._settings)

    @cached_property
    def executing(self) -> Executing:
        """May this tool run, under a reservation of the gate."""
        from shared.governance.executing import Executing

        return Executing(self.gate)

    @cached_property
    def reservations(self) -> Reservations:
        """Ending reservations before their money is spent."""
        from shared.governance.reservations import Reservations

        return Reservations()

    @cached_property
    def chains(self) -> Chains:
        """Keeping chains from going idle."""
        from shared.governance.chains import Chains

        return Chains()

    @cached_property
    def tracking(self) -> Tracking:
        """What calls came to, and what happened in them."""
        from shared.governance.tracking import Tracking

        return Tracking(self._settings.settle_mode, self.aliases.add)

    @cached_property
    def batches(self) -> Batches:
        """Events by the batch."""
        from shared.governance.batches import Batches

        return Batches(self.tracking)

    @cached_property
    def sweep(self) -> GovernanceSweep:
        """Takes up what is due."""
        from shared.governance.propagation import propagate
        from shared.governance.sweep import GovernanceSweep

        return GovernanceSweep(
            {
                "backlog": lambda org_id, pk, sk: self.outbox.handle_backlog(org_id),
                "approval": lambda org_id, pk, sk: self.approvals.due(org_id, sk),
                "delivery": lambda org_id, pk, sk: self.dispatch(org_id, sk),
                "event": lambda org_id, pk, sk: self.outbox.handle_due("event", org_id, pk, sk),
                "settings": lambda org_id, pk, sk: propagate(org_id),
            }
        )

    @cached_property
    def audit(self) -> Audit:
        """The audit chains of orgs."""
        from shared.governance.audit import Audit

        return Audit()

    @cached_property
    def exports(self) -> Exports:
        """Files of the audit chains."""
        from shared.governance.exports import Exports

        return Exports(self._root, self._outlets.blobs(), self._settings.public_url)

    @cached_property
    def executions(self) -> Executions:
        """What ran under governance."""
        from shared.governance.executions import Executions

        return Executions(self._outlets.flows())

    @cached_property
    def outbox(self) -> Outbox:
        """What happens, on its way to whoever follows it."""
        from shared.governance.outbox import Outbox

        return Outbox(
            self.audit, self.exports, control=self._outlets.control(), commands=self._command, alerts=self.alerts,
            deliver=lambda org_id, delivery_id: self.dispatch(org_id, delivery_id),
        )  # fmt: skip

    def _command(self, event: Event) -> None:
        """What an event means to executions that run."""
        self.flow_commands.follow(event)
        self.approvals.resolve(event)

    @cached_property
    def alerts(self) -> Alerts:
        """What an org's people should know of."""
        from shared.governance.alerts import Alerts

        return Alerts(lambda alert: self.deliveries.announce(alert), lambda notice: self.deliveries.notify(notice))

    @cached_property
    def alert_channels(self) -> AlertChannels:
        """Where alerts are sent."""
        from shared.governance.channels import AlertChannels

        enforced = self._settings.plan_enforcement
        return AlertChannels(self._outlets.envelope, self._outlets.outbound, enforce_plans=enforced)

    @cached_property
    def deliveries(self) -> Deliveries:
        """Messages on their way."""
        from shared.governance.deliveries import Deliveries
        from shared.governance.senders import Senders

        return Deliveries(self.alert_channels, self.notifications, Senders(self._outlets.outbound, self._outlets.mail))

    @cached_property
    def dispatch(self) -> Dispatch:
        """Has messages sent."""
        from shared.governance.dispatch import Dispatch

        return Dispatch(
            lambda org_id, delivery_id: self.deliveries.deliver(org_id, delivery_id), self._outlets.background()
        )

    @cached_property
    def notifications(self) -> Notifications:
        """What members want to hear of."""
        from shared.governance.notifications import Notifications

        return Notifications()

    @cached_property
    def spend(self) -> Spend:
        """What has been spent in the current period."""
        from shared.governance.spend import Spend

        return Spend()

    @cached_property
    def statuses(self) -> Statuses:
        """How orgs stand at one look."""
        from shared.governance.status import Statuses

        return Statuses(self.spend)

    @cached_property
    def quotas(self) -> Quotas:
        """What orgs use of their plans."""
        from shared.governance.quota import Quotas

        return Quotas(self.spend)

    @cached_property
    def dashboard(self) -> Dashboard:
        """The numbers of the first page."""
        from shared.governance.dashboard import Dashboard

        return Dashboard(self.spend)

    @cached_property
    def orgs(self) -> Orgs:
        """Organisations as a whole."""
        from shared.governance.orgs import Orgs

        return Orgs(self._outlets.identity())

    @cached_property
    def members(self) -> Members:
        """Who belongs to an org."""
        from shared.governance.members import Members

        return Members()

    @cached_property
    def invites(self) -> Invites:
        """Who is asked to join an org."""
        from shared.governance.invites import Invites

        return Invites(self._root, self._settings)

    @cached_property
    def registration(self) -> Registration:
        """Sign-up, and joining by invite."""
        from shared.governance.registration import Registration

        return Registration(self._outlets.identity(), self.workflows, self.keys, self.invites)

    @cached_property
    def oauth(self) -> OAuth:
        """Sign-in with other providers."""
        from shared.governance.oauth import OAuth

        return OAuth(self._root, self._settings)

    def forget(self, departure: Departure) -> None:
        """End what orgs that go have given out, and tell the others who goes. Harmless when repeated."""
        from shared.governance.departure import end_governed, tell_left

        # What ends now is told to nobody outside any more.
        for org_id in departure.org_ids:
            self.alert_channels.forget(org_id)
        end_governed(departure, self.keys, self.workflows, self.invites)
        tell_left(departure)
