"""The driver on AWS: one Step Functions execution per generation (``shared/engine/driver.asl.json``).

An execution may begin on an Express machine (``first.asl.json``), which costs a hundredth and starts the driver for
whatever has to wait.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.kit import json
from shared.kit.logging import logger

log = logger("driver")

_ALREADY = {"ExecutionAlreadyExists"}
_OVER = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}


class StepFunctionsDriver:
    """Starts and wakes state machines. Both calls are short cuts: the relay or the sweep does again what fails.

    The first generation starts on ``first_arn`` if there is one.
    """

    def __init__(self, machine_arn: str, first_arn: str = "") -> None:
        self._machine_arn = machine_arn
        self._first_arn = first_arn or machine_arn

    @cached_property
    def _client(self) -> Any:
        retries = Config(retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=2, read_timeout=5)
        return boto3.client("stepfunctions", config=retries)

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        """Start the machine of a generation; one that exists already counts as done."""
        self._start(self._machine_arn if generation else self._first_arn, org_id, execution_id, generation)

    def _start(self, machine: str, org_id: str, execution_id: str, generation: int) -> None:
        given = json.dumps({"execution": f"{org_id}/{execution_id}", "generation": generation})
        name = f"{execution_id}-{generation}"
        self._call(_ALREADY, "start_execution", stateMachineArn=machine, name=name, input=given)

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        """Complete the token of a park; one that is over counts as done.

        Without one nobody sleeps: whoever runs it will look, or its driver was never started and is now.
        """
        if task_token is not None:
            self._call(_OVER, "send_task_success", taskToken=task_token, output="{}")
        else:
            self._start(self._machine_arn, org_id, execution_id, generation)

    def _call(self, done: set[str], operation: str, **request: Any) -> None:
        try:
            getattr(self._client, operation)(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] not in done:
                log.warning("a short cut failed", extra={"operation": operation, "reason": str(error)})
        except BotoCoreError as error:
            log.warning("a short cut failed", extra={"operation": operation, "reason": str(error)})
