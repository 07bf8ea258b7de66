"""Flows, to each of their ends."""

from __future__ import annotations

import json
import uuid
from typing import Any

from websockets.exceptions import ConnectionClosed

from scripts.smoking.caller import END_S, Caller, Failed, expect, until

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


def sign_in(known: Caller, *, closed: bool) -> tuple[Caller, str]:
    """Make an account, sign in and keep a secret. Answers who that is, and the token.

    Where sign-up is ``closed``, whoever is ``known`` makes it, an administrator; else it signs up by itself.
    """
    name, password = f"smoke-{uuid.uuid4().hex[:8]}@example.com", "correct horse battery"
    caller = known.anonymous()
    if closed:
        form = {"name": name, "email": name, "password": password, "role": "user"}
        known.send("POST", "/api/v1/accounts", 201, json=form)
    else:
        caller.send("POST", "/api/v1/accounts", 201, json={"username": name, "password": password})
    sent = {"username": name, "password": password}
    token = str(caller.send("POST", "/api/v1/auth/login", 200, json=sent)["token"])
    caller.session.headers["Authorization"] = f"Bearer {token}"
    account = caller.send("GET", "/api/v1/accounts/me", 200)
    caller.send("POST", f"/api/v1/accounts/{account['id']}/secrets/SMOKE", 201, json={"value": "12345"})
    expect("an account made, signed in, a secret kept", name in json.dumps(account), True)
    return caller, token


def journey(caller: Caller, token: str) -> None:
    """Run flows to each of their ends."""
    greeting = caller.make_flow("smoke greeting", GREETING)
    execution = caller.run(greeting, {"name": "Ada"})
    frames = _follow(caller, execution, token)
    expect("frames end with the status", (bool(frames), frames[-1].get("status")), (True, "completed"))
    ended = caller.ended(execution)
    result = {"text": "Hello, Ada!", "key": 5, "waited": True}
    expect(
        "a flow with a script, a secret, a choice and a wait", (ended["status"], ended["result"]), ("completed", result)
    )
    logs = caller.send("GET", f"/api/v1/executions/{execution}/logs?limit=100", 200)
    expect("its log", logs["logs"][-1]["message"], "Execution completed")
    question = caller.make_flow("smoke question", QUESTION)
    asked = caller.run(question, {})
    _approve(caller, asked)
    ended = caller.ended(asked)
    expect("a question and its answer", (ended["status"], ended["result"]), ("completed", {"answer": "yes"}))
    canceled = caller.run(question, {})
    caller.send("DELETE", f"/api/v1/executions/{canceled}", 200)
    expect("a cancel", caller.ended(canceled)["status"], "canceled")


def _approve(caller: Caller, execution_id: str) -> None:
    """Approve, as soon as the execution asks."""
    path = f"{caller.url}/api/v1/executions/{execution_id}/signal/ask"
    until(
        "the execution asks",
        lambda: caller.session.post(path, json={"approved": True}, timeout=END_S),
        lambda answer: bool(answer.ok),
    )


def _follow(caller: Caller, execution_id: str, token: str) -> list[dict[str, Any]]:
    """Every message of an execution's WebSocket, until the server closes it."""
    with caller.connect(f"/ws/executions/{execution_id}", {"Authorization": f"Bearer {token}"}) as socket:
        messages = []
        try:
            while True:
                messages.append(json.loads(socket.recv(timeout=END_S)))
        except ConnectionClosed:
            pass
        except TimeoutError:
            raise Failed(f"no message for {END_S:.0f} s, after {messages}") from None
    return [message for message in messages if message.get("type") != "log"]
