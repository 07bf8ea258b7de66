"""The examples of docs/examples/agents agree with what the server does, and with the pages that show them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.message import Message
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.governance.chain import BEFORE_FIRST, canonical, chained_hash
from shared.governance.senders import webhook_headers
from shared.kit import json
from tests.support.time import HeldClock, clock

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "agents"
BODY = '{"type":"alert.test","text":"größer"}'.encode()


def example(name: str) -> ModuleType:
    """An example as a module; it does nothing when it is imported."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chain(*details: Any) -> Iterator[str]:
    """The lines of an export with these entries."""
    previous = BEFORE_FIRST
    for number, detail in enumerate(details):
        entry = {"id": str(number), "metadata": {"z": detail, "a": number / 3}, "previous_event_hash": previous}
        previous = chained_hash(previous, canonical(entry))
        yield canonical({**entry, "current_event_hash": previous})


def test_an_export_verifies() -> None:
    """The verifier comes to the server's hashes, whatever characters the entries have."""
    lines = list(chain("plain", "größer", "\u2028 and \U0001f682", "\ud800 alone", None, [1, 2.5, {"b": 1, "a": 2}]))
    last = json.loads(lines[-1])["current_event_hash"]
    assert example("verify_audit").check(lines) == (6, last)
    assert example("verify_audit").check(lines[2:]) == (4, last)
    assert example("verify_audit").check([]) == (0, "")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [lines[0], lines[1].replace("two", "2wo"), lines[2]],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[0], lines[2], lines[1]],
        lambda lines: [lines[0], lines[1], lines[1], lines[2]],
    ],
    ids=["changed", "removed", "swapped", "repeated"],
)
def test_a_spoilt_export_does_not(spoil: Any) -> None:
    """The verifier names the entry where a chain was changed, shortened, reordered or repeated."""
    with pytest.raises(ValueError, match=r"entry [23]"):
        example("verify_audit").check(spoil(list(chain("one", "two", "three"))))


def headers_of(secret: str, body: bytes = BODY) -> Message:
    """Headers as a receiver has them."""
    found = Message()
    for name, value in webhook_headers(secret, "message-1", body).items():
        found[name.lower()] = value
    return found


@pytest.mark.parametrize("secret", ["plain secret", "whsec_c2lnbmFsYm94IGlzIGEgZ29vZCBzZWNyZXQ="])
def test_a_receiver_believes_what_was_signed(secret: str) -> None:
    """Both signatures of a message are good to the receiver with the same secret, of either form."""
    genuine = example("receive_alerts").is_genuine
    assert genuine(secret, headers_of(secret), BODY)
    assert not genuine(secret, headers_of(secret), BODY + b" ")
    assert not genuine("another secret", headers_of(secret), BODY)


@pytest.mark.parametrize("name", ["X-NullRun-Signature", "webhook-signature"])
def test_a_receiver_checks_both_signatures(name: str) -> None:
    """One wrong signature is enough to be refused."""
    found = headers_of("secret")
    found.replace_header(name, "v1,AAAA")
    assert not example("receive_alerts").is_genuine("secret", found, BODY)


def test_a_receiver_refuses_what_is_old() -> None:
    """A message that was signed more than five minutes ago may be a replay."""
    with clock.use(HeldClock(int(time.time() * 1000) - 301_000)):
        found = headers_of("secret")
    assert not example("receive_alerts").is_genuine("secret", found, BODY)


def test_the_readme_shows_the_agent() -> None:
    """The agent in README.md is the file that its commands start."""
    code = (EXAMPLES / "agent.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1]
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code in shown
