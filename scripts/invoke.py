"""Calls one Lambda function of template.yaml with an event and prints its answer; see ``scripts/invoke``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts.template import Function, functions

REGION = "eu-central-1"


@dataclass(frozen=True, slots=True)
class Context:
    """What the Lambda runtime hands to a handler."""

    function: Function
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.monotonic)
    function_version: str = "$LATEST"
    log_group_name: str = "local"
    log_stream_name: str = "local"

    @property
    def function_name(self) -> str:
        return f"signalbox-{self.function.family}"

    @property
    def memory_limit_in_mb(self) -> int:
        return self.function.memory

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout."""
        return max(0, int((self.function.timeout - (time.monotonic() - self.began)) * 1000))


def find(name: str) -> Function:
    """The function of a logical id or family name. Raises SystemExit for an unknown one."""
    known = functions()
    for function in known.values():
        if name in (function.name, function.family):
            return function
    raise SystemExit(f"There is no function {name}. There are: {', '.join(sorted(f.family for f in known.values()))}")


def invoke(function: Function, event: Any) -> Any:
    """The handler's answer to the event. What it logs goes to standard error."""
    with redirect_stdout(sys.stderr):
        module, _, attribute = function.handler.rpartition(".")
        handler = getattr(import_module(module), attribute)
        with asyncio.Runner() as runner:
            asyncio.set_event_loop(runner.get_loop())
            return handler(event, Context(function))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/invoke", description=__doc__)
    parser.add_argument("function", help="logical id in template.yaml, or family: flows, engine, sweep, …")
    parser.add_argument("event", help="file with the event's JSON; - reads standard input")
    parser.add_argument("--data", default="data", help="folder of the embedded store (default: %(default)s)")
    parser.add_argument(
        "--aws", action="store_true", help="use AWS, with this shell's credentials and SIGNALBOX_… settings"
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="set a variable (repeatable)")
    return parser.parse_args()


def main() -> int:
    """Set the environment as the template says, invoke, print the answer."""
    chosen = _arguments()
    function = find(chosen.function)
    text = sys.stdin.read() if chosen.event == "-" else Path(chosen.event).read_text(encoding="utf-8")
    environment = function.environment | {
        "AWS_LAMBDA_FUNCTION_NAME": f"signalbox-{function.family}",
        "AWS_REGION": REGION,
    }
    if not chosen.aws:
        environment |= {"SIGNALBOX_ADAPTER": "embedded", "SIGNALBOX_DATA": chosen.data}
        environment |= {"SIGNALBOX_OPEN_SIGNUP": "true", "SIGNALBOX_HMAC_REQUIRED": "false"}
    environment |= {name: os.environ[name] for name in environment if chosen.aws and name in os.environ}
    environment |= dict(pair.partition("=")[::2] for pair in chosen.env)
    os.environ.update(environment)
    print(json.dumps(invoke(function, json.loads(text)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
