"""The one item that orders what is first come, first served in a deployment."""

from __future__ import annotations

from shared.store.models.identity import DEPLOYMENT_KEY, AccountRecord, Deployment
from shared.store.transaction import Transaction, read


def current_deployment() -> Deployment | None:
    """The item; None before the first account."""
    return read(Deployment, DEPLOYMENT_KEY, DEPLOYMENT_KEY)


def take_number(tx: Transaction, deployment: Deployment | None, record: AccountRecord) -> None:
    """Take the account's number, the next after ``deployment``'s; of two racers only one can be the first."""
    if deployment is None:
        first = Deployment(DEPLOYMENT_KEY, DEPLOYMENT_KEY, last_user_id=record.user_id, administrators=1)
        tx.put(first, Deployment.pk.does_not_exist(), "deployment")
        return
    actions = [Deployment.last_user_id.set(record.user_id)]
    if record.administrator:
        actions.append(Deployment.administrators.set(Deployment.administrators + 1))
    tx.update(deployment, actions, Deployment.last_user_id == deployment.last_user_id, "deployment")


def count_administrators(tx: Transaction, change: int) -> None:
    """Add to the number of administrators; the last one stays (label ``administrators``)."""
    deployment = Deployment(DEPLOYMENT_KEY, DEPLOYMENT_KEY)
    total = Deployment.administrators
    if change > 0:
        tx.update(deployment, [total.set(total + change)], Deployment.pk.exists(), "administrators")
    else:
        tx.update(deployment, [total.set(total - 1)], total > 1, "administrators")
