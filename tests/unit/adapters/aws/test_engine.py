"""Step Functions and S3 behind the engine's ports, against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from moto import mock_aws

from shared.adapters.aws.blobs import S3Blobs
from shared.adapters.aws.stepfunctions import StepFunctionsDriver
from shared.kit.errors import NotFound, Unavailable

MACHINE = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account of moto's; no request leaves this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


@pytest.fixture
def machine_arn() -> str:
    made = boto3.client("stepfunctions").create_state_machine(
        name="driver", definition=json.dumps(MACHINE), roleArn="arn:aws:iam::123456789012:role/driver"
    )
    arn: str = made["stateMachineArn"]
    return arn


def test_a_generation_is_started_once(machine_arn: str) -> None:
    """The name is derived from execution and generation, so starting twice is starting once."""
    driver = StepFunctionsDriver(machine_arn)
    for _ in range(2):
        driver.start("org", "0198c0de-0000-7000-8000-000000000000", 3)
    client = boto3.client("stepfunctions")
    (found,) = client.list_executions(stateMachineArn=machine_arn)["executions"]
    assert found["name"] == "0198c0de-0000-7000-8000-000000000000-3"
    given = json.loads(client.describe_execution(executionArn=found["executionArn"])["input"])
    assert given == {"execution": "org/0198c0de-0000-7000-8000-000000000000", "generation": 3}


def test_an_execution_begins_on_the_first_machine(machine_arn: str) -> None:
    """Its first generation does, the others on the driver."""
    client = boto3.client("stepfunctions")
    role = "arn:aws:iam::123456789012:role/driver"
    first_arn = client.create_state_machine(name="first", definition=json.dumps(MACHINE), roleArn=role)[
        "stateMachineArn"
    ]
    driver = StepFunctionsDriver(machine_arn, first_arn)
    for generation in (0, 1):
        driver.start("org", "exec", generation)
    for arn, name in ((first_arn, "exec-0"), (machine_arn, "exec-1")):
        assert [found["name"] for found in client.list_executions(stateMachineArn=arn)["executions"]] == [name]


def test_a_wake_up_without_a_sleeper_starts_the_driver(machine_arn: str) -> None:
    """Were the first machine lost before it started the driver, the next signal would; a driver that runs is one."""
    driver = StepFunctionsDriver(machine_arn, machine_arn + "-first")
    for _ in range(2):
        driver.wake("org", "exec", 0, None)
    found = boto3.client("stepfunctions").list_executions(stateMachineArn=machine_arn)["executions"]
    assert [execution["name"] for execution in found] == ["exec-0"]


def test_a_short_cut_that_fails_is_no_error(machine_arn: str) -> None:
    """The request that started or signalled is durable already; the sweep does the rest."""
    StepFunctionsDriver(machine_arn + "x").start("org", "exec", 0)
    StepFunctionsDriver(machine_arn).wake("org", "exec", 0, "a token that is over")
    StepFunctionsDriver(machine_arn).wake("org", "exec", 0, None)


def test_blobs_are_objects() -> None:
    """What is put is got back, replaced whole and removed; a missing one is NotFound."""
    boto3.client("s3").create_bucket(Bucket="blobs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    blobs = S3Blobs("blobs")
    blobs.put("org/a", b"1")
    blobs.put("org/a", b"22")
    assert blobs.get("org/a") == b"22"
    blobs.delete("org/a")
    blobs.delete("org/a")
    with pytest.raises(NotFound):
        blobs.get("org/a")
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.put("../a", b"")


def test_a_blob_is_fetched_from_where_it_is() -> None:
    """A presigned URL of the object that expires; making one asks nobody."""
    link = urlsplit(S3Blobs("blobs").link("exports/org/a.jsonl", 900))
    assert link.scheme == "https"
    assert f"{link.netloc}{link.path}".endswith("/exports/org/a.jsonl")
    assert "blobs" in f"{link.netloc}{link.path}"
    assert {"Signature", "Expires"} & {name.removeprefix("X-Amz-") for name in parse_qs(link.query)}
    with pytest.raises(ValueError, match="not a blob key"):
        S3Blobs("blobs").link("../a", 900)


def test_a_bucket_that_is_not_there_is_unavailable() -> None:
    """A refusal of the service is told apart from a missing value."""
    with pytest.raises(Unavailable):
        S3Blobs("missing").put("a", b"")
