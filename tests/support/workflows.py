"""What tests of workflows and API keys need: people of an org, its events, and calls made at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

from shared.governance.bindings import Bindings
from shared.governance.keys import ApiKeys
from shared.governance.orgsettings import org_settings
from shared.governance.workflows import Workflows
from shared.identity.principal import Principal, Role
from shared.kit import json
from shared.kit.errors import SignalboxError
from shared.kit.settings import Settings
from shared.store.models.governance import Event, OrgSettings, Purse, events_pk, purse_pk
from shared.store.transaction import Transaction, read

T = TypeVar("T")

ORG = "11111111-1111-4111-8111-111111111111"
OTHER_ORG = "22222222-2222-4222-8222-222222222222"

ROOT = b"r" * 32


def the_keys(**settings: Any) -> ApiKeys:
    """The service of API keys over the installed store."""
    return ApiKeys(ROOT, Settings(data=Path(), **settings))


def the_workflows(**settings: Any) -> Workflows:
    """The service of workflows over the installed store."""
    return Workflows(Settings(data=Path(), **settings), the_keys(**settings), Bindings())


def member(role: Role = "operator", org_id: str = ORG) -> Principal:
    """Somebody signed in to an org."""
    return Principal(kind="session", org_id=org_id, account_id="acc-1", username="ada", role=role)


def key_principal(org_id: str = ORG) -> Principal:
    """An API key of an org."""
    return Principal(kind="key", org_id=org_id, account_id="", username="prod", role="viewer", key_id="k-1")


def on_plan(plan: str, org_id: str = ORG) -> None:
    """Put an org on a plan."""
    Transaction().update(org_settings(org_id), [OrgSettings.plan.set(plan)]).commit()


def events_of(org_id: str = ORG, prefix: str = "") -> list[Event]:
    """What happened in an org, in order; only actions that begin with ``prefix``."""
    found = Event.query(events_pk(org_id), consistent_read=True)
    return [event for event in found if event.action.startswith(prefix)]


def frames_of(event: Event) -> list[dict[str, Any]]:
    """The control-plane frames of an event."""
    frames: list[dict[str, Any]] = json.loads(event.control or "[]")
    return frames


def purse_of(scope_id: str, org_id: str = ORG) -> Purse:
    """A purse that is there."""
    found = read(Purse, purse_pk(org_id, scope_id), "purse")
    assert found is not None
    return found


def raced(*calls: Callable[[], object]) -> Counter[str]:
    """How often each outcome came of calls that began at the same moment: the code of an error, or ``done``."""
    results = at_once(*calls)
    return Counter(result.code if isinstance(result, SignalboxError) else "done" for result in results)


def at_once(*calls: Callable[[], T]) -> Sequence[T | SignalboxError]:
    """What each call returned, or the error it raised; all begin at the same moment, each in its own thread."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T | SignalboxError:
        barrier.wait(10)
        try:
            return call()
        except SignalboxError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(30) for future in [pool.submit(run, call) for call in calls]]
