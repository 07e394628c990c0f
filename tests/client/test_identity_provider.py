"""The client and the command line with tokens of a real identity provider, at a server of this package."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from a2a_grpc import Agent, Server, ServerSettings, Task, TaskArtifactUpdateEvent, Turn, connect, text_of
from a2a_grpc.auth import Jwt
from a2a_grpc.client import bearer, oauth2
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.lifecycle import COMPLETED
from tests.auth.provider import AUDIENCE, SECRET, Provider
from tests.cli.terminal import run, running

pytestmark = pytest.mark.long

COUNT = 50
LIFE_S = 2.0


@asynccontextmanager
async def serving(provider: Provider) -> AsyncIterator[str]:
    """Serve an agent that counts, for callers with tokens of a provider. Give the URL of its card."""
    agent = Agent("Counting", "Counts.")

    @agent.skill("count")
    async def count(turn: Turn) -> AsyncIterator[str]:
        """Count slowly, or say who calls."""
        if turn.text != "count":
            yield turn.principal.subject
            return
        for number in range(COUNT):
            yield f"{number} "
            await asyncio.sleep(0.1)

    settings = ServerSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0", drain_grace_s=0.0)
    authenticator = Jwt(provider.issuer, [AUDIENCE], leeway_s=0.0)
    async with Server(agent, settings, auth=[authenticator]) as server:
        assert server.http_url is not None
        yield server.http_url


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider(lifetime_s=LIFE_S) as running_provider:
        yield running_provider


async def test_client_credentials_from_the_card_and_0_events_lost_when_tokens_end(provider: Provider) -> None:
    async with serving(provider) as url, connect(url, credentials=oauth2("worker", SECRET)) as client:
        async with client.stream("count") as stream:
            events = [event async for event in stream]
        pieces = [text_of(event.artifact) for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        assert "".join(pieces) == "".join(f"{number} " for number in range(COUNT))
        assert (stream.state, stream.seq) == (COMPLETED, len(events))
        task = await client.send("count")
        assert isinstance(task, Task)
        assert text_of(task) == "".join(f"{number} " for number in range(COUNT))
    assert 2 <= (await provider.counts())["/oauth/token"] <= 20


async def test_a_token_that_is_not_renewed_ends_the_stream(provider: Provider) -> None:
    async with serving(provider) as url, connect(url, credentials=bearer(await provider.token())) as client:
        async with client.stream("count") as stream:
            with pytest.raises(UnauthenticatedError):
                [event async for event in stream]


async def test_100_calls_make_one_request_for_a_token(provider: Provider) -> None:
    await provider.set_lifetime(300)
    async with serving(provider) as url, connect(url, credentials=oauth2("worker", SECRET)) as client:
        await asyncio.gather(*(client.send("who") for _ in range(100)))
    assert (await provider.counts())["/oauth/token"] == 1


async def test_new_keys_of_the_provider_are_no_failure(provider: Provider) -> None:
    await provider.set_lifetime(300)
    credentials = oauth2("worker", SECRET, issuer=provider.issuer)
    async with serving(provider) as url, connect(url, credentials=credentials) as client:
        for _ in range(2):
            task = await client.send("who")
            assert isinstance(task, Task)
            assert text_of(task) == "worker"
            await provider.rotate()


async def test_a_login_with_the_device_grant_and_refresh_tokens(provider: Provider, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    async with serving(provider) as url:
        async with running("login", url, "--client-id", "cli", env=env) as login:
            said = await login.err.until("enter the code")
            await provider.decide(said.split("enter the code ")[1].split()[0])
            assert (await login.finished()).code == 0
        for _ in range(2):  # the second command finds a token that has ended
            done = await run("send", "who", "--agent", url, env=env)
            assert (done.code, done.out) == (0, "user-1\n")
            await asyncio.sleep(LIFE_S)
        done = await run("stream", "count", "--agent", url, env=env)  # longer than a token
        assert done.code == 0
        assert done.out.split() == [str(number) for number in range(COUNT)]
        await provider.forget()
        (kept,) = json.loads((tmp_path / "a2a-grpc" / "logins.json").read_text()).values()
        await asyncio.sleep(LIFE_S)
        refused = await run("send", "who", "--agent", url, env=env)
        assert refused.code == 4
        assert f"has ended: the token endpoint {provider.token_endpoint} refused the request" in refused.err
        for secret in (kept["token"], kept["refresh_token"]):
            assert secret not in done.out + done.err + refused.out + refused.err


async def test_a_user_who_denies_the_device_ends_the_login(provider: Provider, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    async with serving(provider) as url:
        async with running("login", url, "--client-id", "cli", env=env) as login:
            said = await login.err.until("enter the code")
            await provider.decide(said.split("enter the code ")[1].split()[0], allow=False)
            done = await login.finished()
    assert (done.code, done.err.splitlines()[-1]) == (4, "Error: the login was refused on the page")
