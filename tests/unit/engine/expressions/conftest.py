"""One pool of script workers for all tests of this folder."""

from collections.abc import Iterator

import pytest

from shared.engine.expressions.javascript import JavaScript
from shared.engine.expressions.pool import WorkerPool


@pytest.fixture(scope="session")
def js() -> Iterator[JavaScript]:
    pool = WorkerPool(2)
    yield JavaScript(pool)
    pool.close()
