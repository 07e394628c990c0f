"""A real identity provider for tests: the program of tests/auth/openid, made of a Go library for OpenID providers.

    async with Provider() as provider:
        token = await provider.token()                        # client credentials
        server = Jwt(provider.issuer, ["a2a"])
        await provider.rotate()                               # sign with a new key

The program is built at first use and kept under .cache/tests. The first build on a machine downloads modules, so tests
that use the provider have the mark `long`.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.harness import ROOT
from tests.tools import MissingProgram, skip_without

SOURCE = ROOT / "tests" / "auth" / "openid"
CACHE = ROOT / ".cache" / "tests"

AUDIENCE = "a2a"
SECRET = "canary-secret-of-worker"
PASSWORD = "canary-password-of-ann"

CLIENTS: Sequence[Mapping[str, Any]] = (
    {
        "id": "worker",
        "secret": SECRET,
        "grants": ["client_credentials"],
        "audience": [AUDIENCE],
        "scopes": ["read", "write"],
        "claims": {"tenant": "acme", "team": "blue"},
    },
    {
        "id": "cli",
        "grants": ["device_code", "refresh_token"],
        "audience": [AUDIENCE],
        "scopes": ["read", "write"],
    },
)
"""A program that has a secret, and a command line, which has none: a user signs it in."""
USERS: Sequence[Mapping[str, Any]] = (
    {"name": "ann", "password": PASSWORD, "subject": "user-1", "claims": {"tenant": "acme", "team": "blue"}},
    {"name": "bob", "password": PASSWORD, "subject": "user-2", "claims": {"tenant": "umbra"}},
)


def built() -> Path:
    """Return the path of the program; build it if its source has changed. Skip the test if there is no Go."""
    if shutil.which("go") is None:
        skip_without(MissingProgram("go", "Go 1.26 or newer: https://go.dev/dl"))
    source = b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))
    program = CACHE / f"openid-{hashlib.sha256(source).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "openid.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in other processes build it too
        if not program.exists():
            unfinished = program.with_suffix(".new")
            subprocess.run(["go", "-C", str(SOURCE), "build", "-o", str(unfinished), "."], check=True)
            unfinished.rename(program)
    return program


class Provider:
    """The identity provider on a free port of this machine. Use it in an `async with` block.

    Args:
        clients: The programs that can take tokens; `openid/client.go` has the fields.
        users: The people that can sign a device in.
        lifetime_s: Seconds for which an access token is valid.
        algorithm: "RS256" or "ES256".

    Attributes:
        issuer: The URL of the provider, as it stands in tokens.
    """

    def __init__(
        self,
        clients: Sequence[Mapping[str, Any]] = CLIENTS,
        users: Sequence[Mapping[str, Any]] = USERS,
        *,
        lifetime_s: float = 300.0,
        algorithm: str = "RS256",
    ) -> None:
        self._clients = clients
        self._config = {"clients": clients, "users": users, "lifetime_s": lifetime_s, "algorithm": algorithm}
        self._process: asyncio.subprocess.Process | None = None
        self.issuer = ""

    @property
    def token_endpoint(self) -> str:
        """The URL where programs take tokens."""
        return f"{self.issuer}/oauth/token"

    @property
    def device_endpoint(self) -> str:
        """The URL where a device asks for a code."""
        return f"{self.issuer}/device_authorization"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the program, after `stop` on the port that it had. Its keys are new then."""
        listen = self.issuer.removeprefix("http://") or "127.0.0.1:0"
        self._process = await asyncio.create_subprocess_exec(
            await asyncio.to_thread(built), "-listen", listen, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.issuer = (await self._say(self._config))["issuer"]

    async def stop(self) -> None:
        """End the program."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.communicate(), 10)
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def rotate(self) -> None:
        """Make a new key, and sign with it from now on. The old keys stay in the key set."""
        await self._say({"do": "rotate"})

    async def retire(self) -> None:
        """Remove the old keys from the key set."""
        await self._say({"do": "retire"})

    async def set_lifetime(self, seconds: float) -> None:
        """Let access tokens that are made from now on be valid for so many seconds."""
        await self._say({"do": "lifetime", "seconds": seconds})

    async def forget(self) -> None:
        """Invalidate all refresh tokens."""
        await self._say({"do": "forget"})

    async def counts(self) -> dict[str, int]:
        """Return the number of requests by path, such as "/keys"."""
        return await self._say({"do": "counts"})

    async def token(self, client: str = "worker", *, scopes: Sequence[str] = ()) -> str:
        """Return a new access token of a client, by the grant of client credentials.

        Args:
            client: The id of the client.
            scopes: The scopes to ask for; by default all of the client's.
        """
        (secret,) = (each["secret"] for each in self._clients if each["id"] == client)
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.token_endpoint, data={**form, "scope": " ".join(scopes)}) as response,
        ):
            answer = await response.json()
            assert response.status == 200, answer
        return str(answer["access_token"])

    async def decide(self, user_code: str, *, allow: bool = True, user: str = "ann", password: str = PASSWORD) -> None:
        """Confirm or deny a device, as a user does it on the provider's page.

        Args:
            user_code: The code that the device shows.
            allow: False to deny the device.
            user: The name of the user.
            password: The password of the user.
        """
        action = "allow" if allow else "deny"
        form = {"user_code": user_code, "username": user, "password": password, "action": action}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.issuer}/device", data=form) as response,
        ):
            assert response.status == 200, await response.text()

    async def _say(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Write one line to the program and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        answer = await self._process.stdout.readline()
        assert answer, "the provider has ended; its standard error says why"
        return dict(json.loads(answer))
