from __future__ import annotations

import pytest

from shared.web.apis import Api, api_of

F, N, H, G = Api.FLOWRUNNER, Api.NOETL, Api.HUB, Api.NULLRUN


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/", F), ("/health", F), ("/nope", F), ("/ws/executions/1", F), ("/ws", F), ("/docs", F), ("/apix", F),
        ("/api/v1", F),
        ("/api/v1/flows", F), ("/api/v1/auth/login", F), ("/api/v1/auth/refresh", F), ("/api/v1/executions/1", F),
        ("/api/v1/gateway", F), ("/api/v1/orgsx", F), ("/api/v1/ws", F), ("/eventsx", F),
        ("/api/v1/orgs", G), ("/api/v1/orgs/1/keys", G), ("/api/v1/gate", G),
        ("/api/v1/execute", G), ("/api/v1/check", G),
        ("/api/v1/track/x", G), ("/api/v1/cancel", G), ("/api/v1/heartbeat", G), ("/api/v1/status/1", G),
        ("/api/v1/capabilities", G),
        ("/api/v1/budget/1", G), ("/api/v1/approvals", G), ("/api/v1/policies", G), ("/api/v1/workflows/1", G),
        ("/api/v1/invites/x", G), ("/api/v1/plans", G), ("/api/v1/auth/verify", G), ("/api/v1/auth/register", G),
        ("/api/v1/auth/oauth/register", G), ("/api/v1/auth/session", G), ("/ws/control/1", G),
        ("/api/gateway/execute/a/b", H), ("/api/gataway", H), ("/api/executor/x", H), ("/api/files/cache", H),
        ("/api/admin", H),
        ("/api", N), ("/api/run", N), ("/api/auth/login", N), ("/graphql", N), ("/noetl/health", N), ("/events", N),
        ("/api/v2", N),
        ("/api/gatewayx", N),
    ],
)  # fmt: skip
def test_each_path_has_one_api(path: str, api: Api) -> None:
    """Whose error form an unknown path takes is decided by its first segments, whole segments only."""
    assert api_of(path) is api
