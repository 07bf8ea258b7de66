"""A short journey through a running Signalbox: ``scripts/smoke.py URL [options]``.

Signs up, signs in, keeps a secret, makes flows, runs them, waits, answers a question, cancels, reads logs and frames.
Each step prints one line; the first that goes wrong ends the journey with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from typing import Any
from urllib.parse import quote

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

END_S = 60.0

GREETING = """
metadata: {name: smoke greeting, version: "1.0"}
nodes:
  greet:
    type: transform
    params: {script: "return {text: `Hello, ${input.name}!`, key: secrets.SMOKE.length};"}
    next: {default: long}
  long:
    type: condition
    params: {condition_script: "return input.text.length > 5;"}
    next: {"true": pause, "false": END}
  pause:
    type: delay
    params: {duration: 2s}
    next: {default: done}
  done:
    type: transform
    params: {script: "return {text: input.text, key: input.key, waited: true};"}
"""

QUESTION = """
metadata: {name: smoke question, version: "1.0"}
nodes:
  ask:
    type: human.approval
    params: {timeout: 10m}
    next: {approved: yes, rejected: no}
  yes: {type: transform, params: {script: "return {answer: 'yes'};"}}
  no: {type: transform, params: {script: "return {answer: 'no'};"}}
"""


class Failed(Exception):
    """A step of the journey went wrong."""


class Caller:
    """Sends requests to one deployment. ``host`` names it where the address alone does not."""

    def __init__(self, url: str, host: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()
        if host:
            self.session.headers["Host"] = host

    def send(self, method: str, path: str, expected: int, **rest: Any) -> Any:
        """The answer's JSON. Raises Failed when the status is another one."""
        answer = self.session.request(method, f"{self.url}{path}", timeout=END_S, **rest)
        if answer.status_code != expected:
            raise Failed(f"{method} {path}: {answer.status_code} instead of {expected}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def ended(self, execution_id: str) -> Any:
        """The execution once it has ended."""
        end = time.monotonic() + END_S
        while time.monotonic() < end:
            found = self.send("GET", f"/api/v1/executions/{execution_id}", 200)
            if found["status"] != "running":
                return found
            time.sleep(0.2)
        raise Failed(f"execution {execution_id} still runs after {END_S:.0f} s")


def expect(what: str, found: object, expected: object) -> None:
    """Print the step. Raises Failed when it found something else."""
    if found != expected:
        raise Failed(f"{what}: found {found!r}, expected {expected!r}")
    print(f"ok  {what}")


def sign_in(caller: Caller, bootstrap_token: str) -> str:
    """Sign up the deployment's first account, or another one, and sign in. Answers the token."""
    expect("health", caller.send("GET", "/healthz", 200)["status"], "ok")
    name = f"smoke-{uuid.uuid4().hex[:8]}"
    form = {"username": name, "password": "correct horse battery"}
    headers = {"X-Signalbox-Bootstrap": bootstrap_token} if bootstrap_token else {}
    caller.send("POST", "/api/v1/accounts", 201, json=form, headers=headers)
    token = str(caller.send("POST", "/api/v1/auth/login", 200, json=form)["token"])
    caller.session.headers["Authorization"] = f"Bearer {token}"
    account = caller.send("GET", "/api/v1/accounts/me", 200)
    caller.send("POST", f"/api/v1/accounts/{account['id']}/secrets/SMOKE", 201, json={"value": "12345"})
    expect("signed up, signed in, secret kept", name in json.dumps(account), True)
    return token


def make(caller: Caller, name: str, text: str) -> str:
    """Register a flow; answers its id."""
    made = caller.send("POST", "/api/v1/flows", 201, json={"name": name, "definition": text})
    return str(made.get("flow_id") or made["id"])


def run(caller: Caller, flow_id: str, given: dict[str, Any]) -> str:
    """Start a flow; answers the execution's id."""
    started = caller.send("POST", f"/api/v1/flows/{flow_id}/run", 201, json={"input": given})
    return str(started.get("execution_id") or started["id"])


def journey(caller: Caller, token: str, websocket: str) -> None:
    """Run flows to each of their ends."""
    greeting = make(caller, "smoke greeting", GREETING)
    execution = run(caller, greeting, {"name": "Ada"})
    if websocket:
        frames = follow(f"{websocket}{quote(f'/ws/executions/{execution}', safe='')}", token)
        expect("frames end with the status", (bool(frames), frames[-1].get("status")), (True, "completed"))
    ended = caller.ended(execution)
    result = {"text": "Hello, Ada!", "key": 5, "waited": True}
    expect(
        "a flow with a script, a secret, a choice and a wait", (ended["status"], ended["result"]), ("completed", result)
    )
    logs = caller.send("GET", f"/api/v1/executions/{execution}/logs?limit=100", 200)
    expect("its log", logs["logs"][-1]["message"], "Execution completed")
    question = make(caller, "smoke question", QUESTION)
    asked = run(caller, question, {})
    answer(caller, asked)
    ended = caller.ended(asked)
    expect("a question and its answer", (ended["status"], ended["result"]), ("completed", {"answer": "yes"}))
    canceled = run(caller, question, {})
    caller.send("DELETE", f"/api/v1/executions/{canceled}", 200)
    expect("a cancel", caller.ended(canceled)["status"], "canceled")


def answer(caller: Caller, execution_id: str) -> None:
    """Approve, as soon as the execution asks."""
    end = time.monotonic() + END_S
    while time.monotonic() < end:
        path = f"{caller.url}/api/v1/executions/{execution_id}/signal/ask"
        if caller.session.post(path, json={"approved": True}, timeout=END_S).ok:
            return
        time.sleep(0.2)
    raise Failed("the execution never asked")


def follow(address: str, token: str) -> list[dict[str, Any]]:
    """Every message of an execution's WebSocket, until the server closes it."""
    with connect(address, additional_headers={"Authorization": f"Bearer {token}"}, open_timeout=END_S) as socket:
        messages = []
        try:
            while True:
                messages.append(json.loads(socket.recv(timeout=END_S)))
        except ConnectionClosed:
            pass
        except TimeoutError:
            raise Failed(f"no message for {END_S:.0f} s, after {messages}") from None
    return [message for message in messages if message.get("type") != "log"]


def main() -> int:
    """Walk the journey; 0 when every step went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--host", default="", help="Host header of every request")
    parser.add_argument("--bootstrap-token", default="", help="the first sign-up's one-time token")
    parser.add_argument("--websocket", default="", help="address of WebSockets, to which the path is appended")
    chosen = parser.parse_args()
    caller = Caller(chosen.url, chosen.host)
    try:
        journey(caller, sign_in(caller, chosen.bootstrap_token), chosen.websocket)
    except Failed as failed:
        print(f"FAILED  {failed}")
        return 1
    print("The journey is complete.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
