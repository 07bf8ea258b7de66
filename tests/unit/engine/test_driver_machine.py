"""The driver's state machine, run by an interpreter of Amazon States Language; a script plays the engine's function."""

from __future__ import annotations

import io
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_sfn

MACHINE = Path(__file__).parents[3] / "shared" / "engine" / "driver.asl.json"
REGION = "eu-central-1"
EXECUTION = "org-1/0192f0c1-7a3e-7cc0-8000-000000000001"
NAME = "0192f0c1-7a3e-7cc0-8000-000000000001"
WAIT_S = 30.0

Payload = dict[str, Any]
Answer = Callable[[Payload], Payload]


def verdict(word: str, *, seconds: int = 0, wake: int = 0, status: str = "", generation: int = 0) -> Payload:
    """What the engine's function answers to ``advance``."""
    return {"word": word, "seconds": seconds, "wake": wake, "status": status, "generation": generation}


def client() -> Any:
    """A client of Step Functions."""
    return boto3.client("stepfunctions", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")


class WorkerDied(Exception):
    """The function ended without an answer."""


class Script:
    """Stands where the function is invoked: gives its answers one by one and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: deque[Payload | Exception | Answer] = deque()
        self.asked: list[Payload] = []
        self.changed = threading.Condition()

    def invoke(self, **request: Any) -> Payload:
        payload = json.loads(request["Payload"]) if isinstance(request["Payload"], bytes | str) else request["Payload"]
        with self.changed:
            self.asked.append(payload)
            answer = self.answers.popleft()
            self.changed.notify_all()
        if isinstance(answer, Exception):
            failure = {"errorType": type(answer).__name__, "errorMessage": str(answer)}
            return {
                "StatusCode": 200,
                "FunctionError": "Unhandled",
                "Payload": io.BytesIO(json.dumps(failure).encode()),
            }
        value = answer(payload) if callable(answer) else answer
        return {"StatusCode": 200, "ExecutedVersion": "1", "Payload": io.BytesIO(json.dumps(value).encode())}

    def wait_asked(self, number: int) -> Payload:
        """The request of this number, once it has been made."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) > number, WAIT_S)
            return self.asked[number]


class Starter:
    """Stands where a machine starts another: moto hands the language's spelling of names on, and dates JSON lacks."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def start_execution(self, **request: Any) -> Payload:
        started: Payload = self.client.start_execution(
            **{name[0].lower() + name[1:]: value for name, value in request.items()}
        )
        return {"executionArn": started["executionArn"]}


class Machine:
    """The state machine, deployed."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.client = client()
        definition = MACHINE.read_text().replace(
            "${EngineFunction}", f"arn:aws:lambda:{REGION}:123456789012:function:engine"
        )
        role = "arn:aws:iam::123456789012:role/driver"
        self.arn = self.client.create_state_machine(name="driver", definition=definition, roleArn=role)[
            "stateMachineArn"
        ]

    def start(self, *answers: Payload | Exception | Answer, generation: int = 0) -> str:
        self.script.answers.extend(answers)
        body = json.dumps({"execution": EXECUTION, "generation": generation})
        name = f"{NAME}-{generation}"
        return str(self.client.start_execution(stateMachineArn=self.arn, name=name, input=body)["executionArn"])

    def ended(self, execution: str) -> Payload:
        """The execution's description once it has ended; each look takes a call, so none of them spins."""
        for _ in range(10_000):
            found: Payload = self.client.describe_execution(executionArn=execution)
            if found["status"] != "RUNNING":
                return found
            with self.script.changed:
                self.script.changed.wait(0.01)
        raise AssertionError("the machine did not end")

    def operations(self) -> list[str]:
        return [payload["op"] for payload in self.script.asked]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    script = Script()
    monkeypatch.setattr(lambda_eval_utils, "boto_client_for", lambda **_: script)
    monkeypatch.setattr(state_task_service_sfn, "boto_client_for", lambda **_: Starter(client()))
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        yield Machine(script)


def test_end_succeeds(machine: Machine) -> None:
    """An execution that ended well ends its machine well, and the engine was asked for this generation of it."""
    assert machine.ended(machine.start(verdict("end", status="succeeded"), generation=3))["status"] == "SUCCEEDED"
    assert machine.script.asked == [{"op": "advance", "execution": EXECUTION, "generation": 3}]


def test_end_fails(machine: Machine) -> None:
    """An execution that ended badly fails its machine with an error that names no fault of the driver."""
    found = machine.ended(machine.start(verdict("end", status="failed")))
    assert (found["status"], found["error"]) == ("FAILED", "Signalbox.ExecutionFailed")


def test_advance_asks_again(machine: Machine) -> None:
    """A spent time slice is followed by the next one at once."""
    found = machine.ended(machine.start(verdict("advance"), verdict("advance"), verdict("end", status="succeeded")))
    assert found["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance"] * 3


def test_busy_waits(machine: Machine) -> None:
    """While somebody else holds the lease the machine waits as long as the engine says, then asks again."""
    found = machine.ended(machine.start(verdict("busy", seconds=1), verdict("end", status="succeeded")))
    assert found["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance"] * 2
    assert (found["stopDate"] - found["startDate"]).total_seconds() >= 0.9


def test_park_is_woken_by_its_token(machine: Machine) -> None:
    """A parked machine hands out its token with the wake counter of its verdict, and goes on when it is completed."""
    execution = machine.start(verdict("park", seconds=300, wake=7), {}, verdict("end", status="succeeded"))
    park = machine.script.wait_asked(1)
    token = park.pop("task_token")
    assert park == {"op": "park", "execution": EXECUTION, "generation": 0, "wake": 7}
    machine.client.send_task_success(taskToken=token, output="{}")
    assert machine.ended(execution)["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance", "park", "advance"]


def test_park_ends_at_once_when_something_came_between(machine: Machine) -> None:
    """The engine may complete the token in the very call that brings it: no wake-up is lost before the park."""

    def completes(payload: Payload) -> Payload:
        machine.client.send_task_success(taskToken=payload["task_token"], output="{}")
        return {}

    execution = machine.start(verdict("park", seconds=300), completes, verdict("end", status="succeeded"))
    assert machine.ended(execution)["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance", "park", "advance"]


def test_park_ends_at_its_deadline(machine: Machine) -> None:
    """A park nobody ends is over when its time is; that is no failure."""
    found = machine.ended(machine.start(verdict("park", seconds=1), {}, verdict("end", status="succeeded")))
    assert found["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance", "park", "advance"]


def test_several_parks(machine: Machine) -> None:
    """An execution may wait any number of times; what one park left behind does not disturb the next."""
    parked: tuple[Payload, Payload] = (verdict("park", seconds=1), {})
    found = machine.ended(machine.start(*parked, *parked, verdict("end", status="succeeded")))
    assert found["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance", "park", "advance", "park", "advance"]


def test_handover_starts_the_next_generation(machine: Machine) -> None:
    """Before its history is full the machine starts a fresh one, named for the generation, and is done itself."""
    first = machine.start(verdict("handover", generation=1), verdict("end", status="succeeded"))
    assert machine.ended(first)["status"] == "SUCCEEDED"
    following = machine.ended(first.replace(f"{NAME}-0", f"{NAME}-1"))
    assert following["status"] == "SUCCEEDED"
    assert json.loads(following["input"]) == {"execution": EXECUTION, "generation": 1}
    assert [payload["generation"] for payload in machine.script.asked] == [0, 1]


def test_handover_to_a_generation_that_runs(machine: Machine) -> None:
    """The engine starts the next generation too, as a short cut; finding it there already is success."""
    running = machine.start(verdict("park", seconds=300), {}, generation=1)
    token = machine.script.wait_asked(1)["task_token"]
    assert machine.ended(machine.start(verdict("handover", generation=1)))["status"] == "SUCCEEDED"
    machine.script.answers.append(verdict("end", status="succeeded"))
    machine.client.send_task_success(taskToken=token, output="{}")
    assert machine.ended(running)["status"] == "SUCCEEDED"


def test_a_dead_worker_is_followed_by_another(machine: Machine) -> None:
    """A function that dies without an answer is invoked again with the same words."""
    found = machine.ended(machine.start(WorkerDied("killed"), verdict("end", status="succeeded")))
    assert found["status"] == "SUCCEEDED"
    assert machine.script.asked[0] == machine.script.asked[1]


def test_a_park_that_could_not_be_registered(machine: Machine) -> None:
    """When the function dies while it registers the park, the machine asks again instead of sleeping out of reach."""
    found = machine.ended(
        machine.start(verdict("park", seconds=300), WorkerDied("killed"), verdict("end", status="succeeded"))
    )
    assert found["status"] == "SUCCEEDED"
    assert machine.operations() == ["advance", "park", "advance"]


def test_an_unknown_word_is_lost(machine: Machine) -> None:
    """An answer outside the protocol has an error of its own, so that an alarm can tell it from a failed flow."""
    found = machine.ended(machine.start(verdict("dance")))
    assert (found["status"], found["error"]) == ("FAILED", "Signalbox.DriverLost")
