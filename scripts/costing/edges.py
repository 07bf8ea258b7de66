"""What stands at the edges of the measured system: where AWS, other hosts and time would be."""

from __future__ import annotations

from typing import Any

from scripts.costing.bill import Meter
from shared.kit import crypto, json
from shared.kit.errors import NotFound
from shared.outbound import HttpResponse

REQUEST_S = 0.005
"""How long a store request takes here: enough that times which are written anew are other times."""


class StillClock:
    """Time that passes only when it is told to, or slept away."""

    def __init__(self) -> None:
        self._now_ms = 1_767_268_800_000.0

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def sleep(self, seconds: float) -> None:
        self._now_ms += seconds * 1000


class Keys:
    """A key ring that counts; its wrapping is as long as KMS makes it."""

    name = "arn:aws:kms:us-east-1:123456789012:key/5f8b1c3e-0000-4000-8000-000000000000"
    _WRAPPING = b"\0" * 152

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def new_data_key(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        self._meter.bill.key_requests += 1
        key = crypto.derive(b"k" * 32, context["scope"])
        return key, self._WRAPPING + key

    def unwrap(self, wrapped: bytes, context: dict[str, str]) -> bytes:
        self._meter.bill.key_requests += 1
        return wrapped.removeprefix(self._WRAPPING)


class Bucket:
    """Blobs that are counted."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._blobs: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self._meter.bill.blob_puts += 1
        self._blobs[key] = data

    def get(self, key: str) -> bytes:
        self._meter.bill.blob_gets += 1
        if key not in self._blobs:
            raise NotFound("The stored value is gone")
        return self._blobs[key]

    def delete(self, key: str) -> None:
        self._blobs.pop(key, None)


class Gateway:
    """Open WebSockets: everybody is connected, and what is sent is counted."""

    lanes = 1

    in_use = True

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def accepts(self, connection_id: str) -> bool:
        return True

    def send(self, connection_id: str, text: str) -> None:
        self._meter.bill.frames += 1

    def close(self, connection_id: str, code: int = 1000) -> None:
        """API Gateway calls ``$disconnect`` itself."""


class NoHeart:
    """Leases need no heartbeat where time stands still."""

    def beat(self, renew: object) -> object:
        return lambda: None


class Hosts:
    """Other hosts: each answers the same at once."""

    def request(self, method: str, url: str, **rest: Any) -> HttpResponse:
        """A short JSON answer."""
        return _json(url, {"key": "value"})

    def checked_url(self, url: str, *, secure: bool = False) -> str:
        """Every address is one that may be called."""
        return url

    def close(self) -> None:
        """There is nothing to close."""


class GitHub(Hosts):
    """GitHub, and somebody who signs in with it."""

    def request(self, method: str, url: str, **rest: Any) -> HttpResponse:
        """A token, the person, their addresses."""
        if url.endswith("/access_token"):
            return _json(url, {"access_token": "token"})
        if url.endswith("/user"):
            return _json(url, {"id": 42, "name": "Octo Cat"})
        return _json(url, [{"email": "octo@example.com", "primary": True, "verified": True}])


def _json(url: str, body: Any) -> HttpResponse:
    return HttpResponse(200, {"Content-Type": ["application/json"]}, json.dumpb(body), url, elapsed_ms=1)
