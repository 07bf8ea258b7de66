"""Deploys the template to an AWS emulator and runs the smoke journey there.

An emulator that already runs is used when LOCALSTACK_HOST or AWS_ENDPOINT_URL names it; otherwise ministack is started
on a free port of this machine and stopped at the end. Run by ``scripts/deploy --local`` in its own environment.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from localstack_client.config import get_service_endpoint
from localstack_client.session import Session

ROOT = Path(__file__).resolve().parent.parent
REGION = "eu-central-1"
STACK = "signalbox-local"
START_S = 30.0


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator: its endpoint, and the domain below which it answers for deployed APIs."""

    endpoint: str
    domain: str

    def client(self, service: str) -> Any:
        """A client of one service."""
        return Session(region_name=REGION).client(service)


@contextmanager
def emulator(keep: bool) -> Iterator[Emulator]:
    """The emulator the environment names, else a ministack of our own."""
    if os.environ.get("LOCALSTACK_HOST") or os.environ.get("AWS_ENDPOINT_URL"):
        yield Emulator(str(get_service_endpoint("cloudformation")), "localhost.localstack.cloud")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="signalbox-emulator-")
    os.environ["LOCALSTACK_HOST"] = f"127.0.0.1:{port}"
    endpoint = str(get_service_endpoint("cloudformation"))
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "emulator.py")],
            env=os.environ
            | {
                "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_REGION": REGION, "TMPDIR": folder,
                "S3_DATA_DIR": f"{folder}/s3", "AWS_ENDPOINT_URL": endpoint,
                # The functions run on the Python the bundle was made for.
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
        )  # fmt: skip
    print(f"ministack {process.pid} at {endpoint}, its log is {folder}/log")
    try:
        _await(endpoint, process)
        yield Emulator(endpoint, "localhost")
    finally:
        if keep:
            print(f"It keeps running; end it with: kill -- -{process.pid}")
        else:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(START_S)
            shutil.rmtree(folder, ignore_errors=True)


def _await(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{endpoint}/_localstack/health", timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise SystemExit("the emulator did not start")


def deploy(target: Emulator) -> dict[str, str]:
    """Build for this machine, deploy, and answer the stack's outputs."""
    environment = os.environ | {
        "AWS_ENDPOINT_URL": target.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION, "SAM_CLI_TELEMETRY": "0", "BUNDLE_FOR": "host", "PYTHON": sys.executable,
    }  # fmt: skip
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    sam = str(ROOT / ".venv-sam" / "bin" / "sam")
    built = ".aws-sam/local"
    overrides = f"Stage=dev ConcurrencyCaps=false SnapStart=None Architecture={machine}"
    overrides += f" ConnectionsUrl={target.endpoint}/_aws/execute-api"
    build = [sam, "build", "--build-dir", built]
    deployment = [
        sam, "deploy", "--template-file", f"{built}/template.yaml", "--stack-name", STACK, "--region", REGION,
        "--no-progressbar", "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--parameter-overrides", overrides,
    ]  # fmt: skip
    for command in (build, deployment):
        if command is deployment:
            _one_archive(ROOT / built)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command[:2])} failed:\n{done.stdout}\n{done.stderr}")
    stack = target.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def _one_archive(built: Path) -> None:
    """Let every function of the built template use one archive: all are the same files, and packing takes longest."""
    template = built / "template.yaml"
    text, count = re.subn(r"CodeUri: (\w+Function)$", "CodeUri: bundle.zip", template.read_text(), flags=re.MULTILINE)
    if count:
        folder = next(path for path in sorted(built.iterdir()) if path.is_dir())
        with zipfile.ZipFile(built / "bundle.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
        template.write_text(text)


def main() -> int:
    """Deploy, then walk the smoke journey."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the emulator running")
    chosen = parser.parse_args()
    with emulator(chosen.keep) as target:
        began = time.monotonic()
        outputs = deploy(target)
        print(f"deployed in {time.monotonic() - began:.0f} s")
        secret = target.client("secretsmanager").get_secret_value(SecretId=outputs["BootstrapSecretId"])["SecretString"]
        api, sockets = outputs["HttpApiId"], outputs["WebSocketApiId"]
        port = target.endpoint.rsplit(":", 1)[1]
        journey = [
            sys.executable, "-m", "scripts.smoke", target.endpoint, "--bootstrap-token", secret,
            "--host", f"{api}.execute-api.{target.domain}:{port}",
            "--websocket", f"ws://127.0.0.1:{port}/_aws/execute-api/{sockets}/live?signalbox-path=",
        ]  # fmt: skip
        return subprocess.run(journey, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
