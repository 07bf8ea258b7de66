"""The Express machine on which executions start, run by an interpreter of Amazon States Language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.engine.test_driver_machine import EXECUTION, NAME, REGION, Machine, WorkerDied, machine, verdict

FIRST = Path(__file__).parents[3] / "shared" / "engine" / "first.asl.json"
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:engine"

__all__ = ["machine"]


@pytest.fixture
def first(machine: Machine) -> str:
    """The machine's ARN, beside the driver it hands over to."""
    definition = FIRST.read_text().replace("${EngineFunction}", FUNCTION).replace("${Driver}", machine.arn)
    role = "arn:aws:iam::123456789012:role/driver"
    made = machine.client.create_state_machine(name="first", definition=definition, roleArn=role)
    return str(made["stateMachineArn"])


def start(machine: Machine, first: str, generation: int = 0) -> str:
    """An execution of the first machine."""
    given = json.dumps({"execution": EXECUTION, "generation": generation})
    started = machine.client.start_execution(stateMachineArn=first, name=f"{NAME}-{generation}", input=given)
    return str(started["executionArn"])


def drivers(machine: Machine) -> list[str]:
    """Names of the driver's executions."""
    found = machine.client.list_executions(stateMachineArn=machine.arn)["executions"]
    return [execution["name"] for execution in found]


@pytest.mark.parametrize(("status", "ends"), [("succeeded", "SUCCEEDED"), ("failed", "FAILED")])
def test_what_ends_at_once_needs_no_driver(machine: Machine, first: str, status: str, ends: str) -> None:
    """One advance, and the machine ends as the execution did."""
    machine.script.answers.append(verdict("end", status=status))
    assert machine.ended(start(machine, first))["status"] == ends
    assert machine.operations() == ["advance"]
    assert drivers(machine) == []


@pytest.mark.parametrize("word", ["advance", "park", "busy"])
def test_whatever_is_not_over_goes_on_in_the_driver(machine: Machine, first: str, word: str) -> None:
    """The driver begins with the same generation and asks again; the first machine is done."""
    machine.script.answers.extend([verdict(word, seconds=300), verdict("end", status="succeeded")])
    execution = start(machine, first)
    assert machine.ended(execution)["status"] == "SUCCEEDED"
    driver = execution.replace(":first:", ":driver:")
    assert machine.ended(driver)["status"] == "SUCCEEDED"
    assert machine.script.asked[0] == machine.script.asked[1]


def test_a_dead_worker_is_followed_by_the_driver(machine: Machine, first: str) -> None:
    """An engine that dies or takes too long is taken up by the machine that can wait."""
    machine.script.answers.extend([WorkerDied("killed"), verdict("end", status="succeeded")])
    execution = start(machine, first)
    assert machine.ended(execution)["status"] == "SUCCEEDED"
    assert machine.ended(execution.replace(":first:", ":driver:"))["status"] == "SUCCEEDED"


def test_a_second_run_finds_the_driver_there(machine: Machine, first: str) -> None:
    """Express machines may run twice: the driver that was started already is enough."""
    machine.script.answers.extend([verdict("park", seconds=300), {}])
    machine.start()
    token = machine.script.wait_asked(1)["task_token"]
    machine.script.answers.append(verdict("busy", seconds=30))
    assert machine.ended(start(machine, first))["status"] == "SUCCEEDED"
    assert drivers(machine) == [f"{NAME}-0"]
    machine.script.answers.append(verdict("end", status="succeeded"))
    machine.client.send_task_success(taskToken=token, output="{}")
    assert machine.ended(machine.arn.replace("stateMachine", "execution") + f":{NAME}-0")["status"] == "SUCCEEDED"
