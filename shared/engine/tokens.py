"""What walks a program: tokens, and the groups they belong to while a fork or a batch runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Fact = dict[str, Any]
TokenStatus = Literal["ready", "running", "waiting", "retrying", "finished", "failed", "owner"]


@dataclass(slots=True)
class Token:
    """A place in the program. ``visit`` 0 means its node has not begun; ``came`` is the visit it came from.

    ``attempt`` counts deliveries, ``failures`` those the author's retries count. ``wait_params`` are the parameters a
    prep hook made before the node began to wait. ``part`` is how many elements, from ``branch`` on, a child execution
    does for this token, which waits for it.
    """

    id: int
    node: str
    input: Any
    previous_input: Any = None
    status: TokenStatus = "ready"
    visit: int = 0
    came: int = 0
    attempt: int = 0
    failures: int = 0
    due_ms: int | None = None
    wait: str | None = None
    wait_key: str | None = None
    wait_state: Any = None
    wait_params: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    output: Any = None
    group: int | None = None
    branch: int = 0
    is_item: bool = False
    error: dict[str, Any] | None = None
    part: int = 0


@dataclass(slots=True)
class Group:
    """Branches of a fork or elements of a batch. ``join`` is the join node the branches met.

    Of a batch, element ``n`` gets the token ``first_token + n``; ``begun`` elements have had theirs, ``live`` have one.
    With ``part``, child executions do the elements, so many each, ``each`` of them at once, and only the first of a
    part gets a token; ``frame`` is where they find what they begin with. In a child the group is such a part: ``size``
    elements from ``offset`` on. ``most`` bounds ``live`` in the place of the node's own limit.
    """

    id: int
    owner: int
    size: int
    batch: bool
    outputs: dict[str, Any] = field(default_factory=dict)
    join: str | None = None
    first_token: int = 0
    begun: int = 0
    live: int = 0
    offset: int = 0
    part: int = 0
    most: int = 0
    each: int = 0
    frame: str | None = None

    def ordered(self) -> list[Any]:
        """Outputs in the order of the branches."""
        return [self.outputs[str(index)] for index in range(self.offset, self.offset + self.size)]


def batch_items(value: Any) -> list[Any] | None:
    """What a batch runs over: a list, or the list under ``items``; None when there is neither."""
    if isinstance(value, list):
        return value
    items = value.get("items") if isinstance(value, dict) else None
    return items if isinstance(items, list) else None
