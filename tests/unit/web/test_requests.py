"""What is told first when several things are wrong."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from shared.kit.errors import InvalidRequest, NotFound
from shared.web.requests import judged_first


def _read_badly() -> None:
    raise InvalidRequest("The body is not JSON")


def test_a_right_request_does_not_pay_for_the_look() -> None:
    """The resource is not asked for."""
    resource = Mock()
    with judged_first(resource):
        pass
    assert resource.call_count == 0


@pytest.mark.parametrize(("found", "told"), [({}, InvalidRequest), (NotFound("no such flow"), NotFound)])
def test_a_missing_resource_is_told_before_a_wrong_request(found: object, told: type[Exception]) -> None:
    """Nobody learns from a 400 what a 404 should have hidden; of a resource that is there, the 400 is told."""
    resource = Mock(side_effect=[found])
    with pytest.raises(told), judged_first(resource):
        _read_badly()
