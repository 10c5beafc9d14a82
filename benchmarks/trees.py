"""FinPay from a source tree: used only through its command line, HTTP and SQL.

The tree may be another release, with other modules than this one.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx

from benchmarks import wrk
from benchmarks.bench import FIRST_LOAD, Bench
from benchmarks.stack import BenchError, BenchStack, Tuning, assert_durable
from benchmarks.users import OPENING_BALANCE, PASSWORD, TOKEN_LIFETIME_S, User, write_users
from finpay import ids
from finpay.dev.data_dir import remove_data_dir
from finpay.dev.stack import DATABASE, Api, ServerUrls

ROOT: Final = Path(__file__).parents[1]
INSTALL_LIMIT_S: Final = 600
COMMAND_LIMIT_S: Final = 300
HASHES_AT_ONCE: Final = 4  # registrations: enough to keep two cores busy, too few to be refused
HTTP_TIMEOUT_S: Final = 30
# Of requests by users: an older release refuses settings that it does not know.
USER_LIMITS_OFF: Final = {
    f"FINPAY_RATE_LIMIT_{tier}": "off" for tier in ("GLOBAL", "AUTH", "TRANSACTION")
}


class TreeBench:
    """The servers of one source tree, whose interpreter is `python`."""

    def __init__(self, name: str, python: Path, folder: Path, tuning: Tuning) -> None:
        self.name = name
        self._python = python
        self._tuning = tuning
        self._stack = BenchStack(folder, tuning)

    def start(self, users: int, seconds: float) -> Bench:
        """All servers with that many users, and a first load that is not counted."""
        stack = self._stack
        stack.valkey.start()
        stack.postgres.start()
        stack.postgres.ensure_database(DATABASE)
        stack.urls = ServerUrls(stack.database_url, stack.database_url, stack.valkey.url)
        self.command("migrate")
        asyncio.run(assert_durable(stack.database_url))
        stack.api = self.start_api("serve")
        created = self._register(users)
        file = write_users(created, stack.folder / "users")
        wrk.run(stack.url, file, FIRST_LOAD)
        return Bench(stack, self._tuning, created, file, seconds)

    def start_api(self, log: str) -> Api:
        """Another `finpay serve` on the same databases, ready."""
        environment = self._environment() | USER_LIMITS_OFF | dict(self._tuning.environment)
        environment["FINPAY_WORKERS"] = str(self._tuning.workers)
        environment["FINPAY_ACCESS_TOKEN_TTL"] = str(TOKEN_LIFETIME_S)
        api = Api(environment, self._stack.folder / f"{log}.log")
        api.command[0] = str(self._python)
        self._stack.services.append(api)
        api.start()
        api.await_ready(api.is_ready)
        return api

    def command(self, *arguments: str) -> None:
        """Runs `finpay …` to its end. BenchError, with its output, if it fails."""
        done = subprocess.run(
            [self._python, "-m", "finpay", *arguments],
            env=self._environment(),
            cwd=self._stack.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_LIMIT_S,
        )
        if done.returncode != 0:
            raise BenchError(f"{self.name}: finpay {' '.join(arguments)} failed: {done.stdout}")

    def stop(self) -> None:
        self._stack.stop()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self._stack.database_url,
            "REDIS_URL": self._stack.valkey.url,
        }

    def _register(self, count: int) -> list[User]:
        """By HTTP. The operator's command funds the first user, who pays the others."""
        users = asyncio.run(_register(self._stack.url, count))
        self.command("account", "fund", users[0].email, str(OPENING_BALANCE * count))
        items = [
            {"receiver_id": ids.encode("acc", user.account_id), "amount": OPENING_BALANCE}
            for user in users[1:]
        ]
        done = httpx.post(
            f"{self._stack.url}/api/v1/transactions/batch",
            json={"mode": "independent", "transactions": items},
            headers={"Authorization": f"Bearer {users[0].token}", "X-Idempotency-Key": "opening"},
            timeout=HTTP_TIMEOUT_S,
            trust_env=False,
        )
        if done.status_code != 200:
            raise BenchError(f"{self.name}: the users were not funded: {done.text}")
        return users


async def _register(url: str, count: int) -> list[User]:
    slots = asyncio.Semaphore(HASHES_AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=HTTP_TIMEOUT_S, trust_env=False) as http:

        async def one(number: int) -> User:
            email = f"bench-{number}@example.com"
            async with slots:
                body = {"email": email, "password": PASSWORD}
                answer = await http.post("/api/v1/auth/register", json=body)
            if answer.status_code != 201:
                raise BenchError(f"register: {answer.status_code} {answer.text}")
            login: dict[str, Any] = answer.json()
            user, account = login["user"]["id"], login["account"]["id"]
            decoded = ids.decode("usr", user), ids.decode("acc", account)
            return User(*decoded, UUID(int=0), email, login["access_token"])

        return list(await asyncio.gather(*(one(number) for number in range(count))))


@contextmanager
def installed(ref: str) -> Iterator[Path]:
    """The interpreter of a virtual environment that has the tree of a git ref installed."""
    uv = ROOT / ".venv" / "uv" / "bin" / "uv"
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise BenchError("uv is missing; `make install` installs it into .venv/uv")
    with tempfile.TemporaryDirectory(prefix="finpay-tree-") as folder:
        _export(ref, Path(folder))
        environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
        done = subprocess.run(
            [program, "sync", "--quiet", "--frozen", "--all-extras", "--no-default-groups",
             "--compile-bytecode", "--python", sys.executable],
            cwd=folder,
            env=environment | {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy"},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=INSTALL_LIMIT_S,
        )  # fmt: skip
        if done.returncode != 0:
            raise BenchError(f"{ref} could not be installed: {done.stderr}")
        yield Path(folder, ".venv", "bin", "python")


def _export(ref: str, folder: Path) -> None:
    archive = folder / "tree.tar"
    done = subprocess.run(
        ["git", "archive", "--output", archive, ref],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"git archive {ref} failed: {done.stderr}")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()


@contextmanager
def two_benches(ref: str, tuning: Tuning) -> Iterator[tuple[TreeBench, TreeBench]]:
    """The base, from a git ref, and the head, which is this tree. Neither is started."""
    with ExitStack() as cleanup:
        pythons = {"base": cleanup.enter_context(installed(ref)), "head": Path(sys.executable)}
        benches = []
        for name, python in pythons.items():
            folder = Path(tempfile.mkdtemp(prefix=f"finpay-bench-{name}-"))
            folder.chmod(0o755)  # for the servers' account
            cleanup.callback(remove_data_dir, folder)
            benches.append(TreeBench(name, python, folder, tuning))
            cleanup.callback(benches[-1].stop)
        yield benches[0], benches[1]
