"""A PostgreSQL server of its own in a temporary folder, where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.certificates import certificate

HOST, USER, PASSWORD = "127.0.0.1", "postgres", "s3cret-word"


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None where the server is not installed."""
    on_path = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in (*on_path, *installed) if (folder / "initdb").exists()), None)


def unavailable() -> str | None:
    """Why no server can be started here, if so."""
    if programs() is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0 and _other_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


def _other_user() -> pwd.struct_passwd | None:
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    return users.get("postgres") or users.get("nobody")


@contextmanager
def server() -> Iterator[int]:
    """The port of a running server that knows TLS and asks for a password; gone with the block."""
    folder = programs()
    assert folder is not None
    user = _other_user() if os.geteuid() == 0 else None
    options: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        place = Path(name)
        data, secret = place / "data", place / "password"
        secret.write_text(PASSWORD)
        public, _ = certificate(place, HOST)
        key = place / "key.pem"
        key.chmod(0o600)
        for path in (place, secret, key) if user else ():
            os.chown(path, options["user"], options["group"])
        # Nothing here must survive a crash, so nothing waits for the disk.
        subprocess.run(
            [folder / "initdb", "-D", data, "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8",
             "--no-sync", "--locale=C", "--no-instructions"],
            check=True, capture_output=True, cwd=place, **options,
        )  # fmt: skip
        with socket.create_server((HOST, 0)) as reserved:
            port = int(reserved.getsockname()[1])
        settings = {
            "listen_addresses": HOST, "port": port, "unix_socket_directories": place, "fsync": "off", "ssl": "on",
            "ssl_cert_file": public, "ssl_key_file": key, "shared_buffers": "16MB", "max_connections": 20,
        }  # fmt: skip
        arguments = [word for setting in settings.items() for word in ("-c", "{}={}".format(*setting))]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "postgres", "-D", data, *arguments], stdout=log, stderr=log, cwd=place, **options
            )
        try:
            _wait(folder, port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _wait(folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    question: list[str | Path] = [folder / "pg_isready", "-h", HOST, "-p", str(port)]
    for _ in range(1000):
        if subprocess.run(question, capture_output=True, check=False).returncode == 0:
            return
        if process.poll() is not None:
            break
    raise RuntimeError("PostgreSQL did not start")
