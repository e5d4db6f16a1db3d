"""PostgreSQL of this machine, on loopback: a server with a folder and a port of its own, which forgets everything."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_START_SECONDS = 60


def missing() -> str | None:
    """What is missing for a server to be started here; None: nothing."""
    if _binaries() is None:
        return "PostgreSQL's server is not installed: apt-get install --no-install-recommends postgresql"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


class PostgresServer:
    """Attributes:
    variables: how the environment names the server and its database to examples/platform/dagster.yaml.
    """

    def __init__(self) -> None:
        binaries, self._user = _binaries(), _user()
        assert binaries is not None, missing()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not pytest's, which the user postgres cannot enter
        password, port = secrets.token_hex(16), _free_port()
        (self._folder / "password").write_text(password)
        if self._user is not None:
            for path in (self._folder, self._folder / "password"):
                shutil.chown(path, self._user)
        data = str(self._folder / "data")
        made = ["--username", "dagster", "--pwfile", str(self._folder / "password"), "--auth", "scram-sha-256"]
        self._start(str(binaries / "initdb"), "--pgdata", data, "--no-sync", *made).wait()
        options = ["-c", "fsync=off", "-c", "unix_socket_directories="]
        self._process = self._start(
            str(binaries / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), *options
        )
        self.variables = {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(port),
            "DAGSTER_POSTGRES_USER": "dagster",
            "DAGSTER_POSTGRES_PASSWORD": password,
        }
        self._wait(port)

    def database(self, name: str) -> dict[str, str]:
        """Make a database; returns `variables` with its name."""
        import psycopg2

        variables = {**self.variables, "DAGSTER_POSTGRES_DB": name}
        connection = psycopg2.connect(
            host=variables["DAGSTER_POSTGRES_HOST"],
            port=variables["DAGSTER_POSTGRES_PORT"],
            user=variables["DAGSTER_POSTGRES_USER"],
            password=variables["DAGSTER_POSTGRES_PASSWORD"],
            dbname="postgres",
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'create database "{name}"')
        connection.close()
        return variables

    def close(self) -> None:
        """End it at once; it forgets everything."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        shutil.rmtree(self._folder)

    def _start(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                user=self._user,
                group=self._user and pwd.getpwnam(self._user).pw_gid,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()}")


def _binaries() -> Path | None:
    """The folder of the newest server that Debian installed, or else of the one in the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = versions[-1] if versions else shutil.which("postgres")
    return Path(found).parent if found else None


def _user() -> str | None:
    """Whom the server has to run as: root may not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
