"""A whole deployment in memory: the real handlers over the real parts of AWS's wiring, with everything counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts import samples
from scripts.costing.bill import Bill, Meter
from scripts.costing.edges import REQUEST_S, Bucket, Gateway, Hosts, Keys, NoHeart, StillClock
from scripts.costing.machine import Machines
from scripts.template import functions, route_of
from shared.composition import Services, use_services
from shared.engine.expressions.pool import WorkerPool
from shared.identity.passwords import Passwords
from shared.kit import clock, ids
from shared.kit.settings import Settings, use_settings
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.models import every_model

PASSWORD = samples.PASSWORD
SEED = 2026


class World:
    """A deployment and how to use it. Every call writes on the bill that is open on ``meter``."""

    def __init__(self, services: Services, store: EmbeddedEngine, meter: Meter) -> None:
        self.services = services
        self.meter = meter
        self.machines = Machines(handler("engine"), meter)
        self._store = store
        self._relayed = 0

    def call(
        self, method: str, path: str, body: Any = None, token: str = "", *, headers: Mapping[str, str] = {},
        query: str = "", refused: int = 0,
    ) -> Any:  # fmt: skip
        """The JSON answer of an HTTP request. Raises ValueError unless it succeeds, or has the status ``refused``."""
        sent = {"accept": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {}) | dict(headers)
        if body is not None:
            sent["content-type"] = "application/json"
        event = samples.http_event(method, path, sent, body)
        event["rawQueryString"] = query
        return self.send(event, refused=refused)

    def send(self, event: dict[str, Any], *, refused: int = 0) -> Any:
        """As :meth:`call`, for a ready event."""
        http = event["requestContext"]["http"]
        family = functions()[route_of(http["method"], event["rawPath"]).function].family
        self.meter.bill.http += 1
        answer = self.invoke(family, event)
        if answer["statusCode"] >= 300 and answer["statusCode"] != refused:
            raise ValueError(f"{http['method']} {http['path']}: {answer['statusCode']} {answer.get('body')}")
        is_json = answer["headers"].get("content-type", "").startswith("application/json")
        return json.loads(answer["body"]) if is_json and answer.get("body") else None

    def invoke(self, family: str, event: dict[str, Any]) -> Any:
        """The answer of a family's function."""
        self.meter.bill.invocations += 1
        return handler(family)(event, None)

    def settle(self, engine: Bill, relay: Bill) -> None:
        """Let machines and relay work until nothing happens without time or people."""
        while True:
            with self.meter.on(engine):
                walked = self.machines.run()
            with self.meter.on(relay):
                relayed = self._relay()
            if not walked and not relayed:
                return

    def _relay(self) -> bool:
        """Hand the change stream to the relay as one batch; whether there was any."""
        records = self._store.stream.read(self._relayed, 1_000)
        if records:
            self._relayed = records[-1].sequence
            failures = self.invoke("relay", {"Records": [record.as_event() for record in records]})["batchItemFailures"]
            if failures:
                raise ValueError(f"the relay failed: {failures}")
        return bool(records)


def handler(family: str) -> Callable[[dict[str, Any], Any], Any]:
    """The Lambda entry point of a family, as the embedded settings make it: without traces."""
    found: Callable[[dict[str, Any], Any], Any] = import_module(f"functions.{family}.app").handler
    return found


@contextmanager
def world(scripts: WorkerPool) -> Iterator[World]:
    """An empty deployment with time held still and ids from a seed."""
    for function in functions().values():
        handler(function.family)
    settings = Settings(
        adapter="aws", data=Path("unused"), token_secret="t" * 64, open_signup=True, public_url="https://example.com",
        github_client_id="signalbox", github_client_secret="s" * 40,
    )  # fmt: skip
    meter = Meter()
    store = EmbeddedEngine.open()
    with ExitStack() as held:
        held.callback(store.close)
        held.enter_context(clock.use(StillClock()))
        held.enter_context(ids.use(ids.SeededSource(SEED)))
        held.enter_context(installed(store))
        store.create_tables(*every_model())
        services = Services(settings)
        use_settings(settings)
        held.callback(use_settings, None)
        use_services(services)
        held.callback(use_services, None)
        made = World(services, store, meter)
        services.__dict__ |= {
            "blobs": Bucket(meter), "driver": made.machines, "heart": NoHeart(), "keyring": Keys(meter),
            "outbound": Hosts(), "scripts": scripts, "sender": Gateway(meter),
        }  # fmt: skip
        # What a password costs is the processor's time, which is not counted here.
        services.identity.sessions._passwords._hasher = Passwords(passes=1, memory_kib=8)._hasher
        held.callback(store.requests.subscribe(meter.store))
        held.callback(store.requests.subscribe(lambda request: clock.sleep(REQUEST_S)))
        yield made
        if "workers" in services.__dict__:
            services.workers.close()
