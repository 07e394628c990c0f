"""A served agent whose callers have tokens of a real identity provider."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from a2a_grpc import Agent, Server, ServerSettings, TaskArtifactUpdateEvent, Turn, connect
from a2a_grpc.auth import CallCredentials, Jwt, Refused
from a2a_grpc.auth.discovery import Discovery
from a2a_grpc.auth.jwks import KeyCache
from a2a_grpc.client import oauth2
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import data_of, text_of
from a2a_grpc.protocol import Key
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, StreamResponse, SubscribeToTaskRequest, Task
from tests.auth.provider import AUDIENCE, SECRET, Provider
from tests.harness import V1, refusal, request

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first build on a machine takes minutes

COUNT = 60
INTERVAL_S = 0.1


@asynccontextmanager
async def site(*auth: Jwt, agent: Agent | None = None) -> AsyncIterator[A2AServiceStub]:
    """Serve an agent for the callers that these authenticators know."""
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    async with Server(agent or counting(), settings, auth=auth) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            yield A2AServiceStub(channel)


def counting() -> Agent:
    """Return an agent that says who calls, or counts slowly if asked to count."""
    agent = Agent("Counting", "Counts.")

    @agent.skill("count")
    async def count(turn: Turn) -> Any:
        """Count, or name the caller."""
        if turn.text != "count":
            caller = turn.principal
            yield {
                "subject": caller.subject,
                "issuer": caller.issuer,
                "tenant": caller.tenant,
                "scopes": sorted(caller.scopes),
                "group": caller.group,
            }
            return
        for number in range(COUNT):
            yield f"{number} "
            await asyncio.sleep(INTERVAL_S)

    return agent


def called_with(token: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (*V1, ("authorization", f"Bearer {token}"), *more)


async def test_a_program_calls_with_a_token_of_its_own() -> None:
    async with Provider() as provider:
        mapped = Jwt(provider.issuer, [AUDIENCE], tenant_claim="tenant", owner_claim="team")
        async with site(mapped) as stub:
            metadata = called_with(await provider.token(scopes=["read"]))
            task: Task = (await stub.SendMessage(request("who?"), metadata=metadata)).task
            assert data_of(task.artifacts[0]) == {
                "subject": "worker",
                "issuer": provider.issuer,
                "tenant": "acme",
                "scopes": ["read"],
                "group": "blue",
            }
            assert (await stub.GetTask(GetTaskRequest(id=task.id), metadata=metadata)).status.state == COMPLETED
            renewed = called_with(await provider.token())
            assert (await stub.GetTask(GetTaskRequest(id=task.id), metadata=renewed)).id == task.id
            found = await refusal(stub.SendMessage(request("who?"), metadata=V1))
            assert found.code == grpc.StatusCode.UNAUTHENTICATED
            other = Jwt(provider.issuer, ["other-agent"])
        async with site(other) as stub:
            found = await refusal(stub.SendMessage(request("who?"), metadata=metadata))
            assert found.code == grpc.StatusCode.UNAUTHENTICATED
        assert (await provider.counts())["/keys"] == 2  # one for each server


async def test_tokens_of_a_rotated_key_are_accepted_until_the_key_is_gone_and_those_of_the_new_key_at_once() -> None:
    async with Provider(algorithm="ES256") as provider:
        passed = [0.0]
        authenticator = Jwt(provider.issuer, [AUDIENCE])
        authenticator._keys = KeyCache(provider.issuer, Discovery(provider.issuer), clock=lambda: 1e6 + passed[0])
        await authenticator.open()

        async def accepts(token: str) -> bool:
            authenticator._verified.clear()
            shown = CallCredentials(metadata={"authorization": (f"Bearer {token}",)})
            return await authenticator(shown) is not None

        old = await provider.token()
        assert await accepts(old)
        await provider.rotate()
        new = await provider.token()
        assert await accepts(new)
        assert await accepts(old)
        await provider.retire()
        passed[0] += 301
        assert await accepts(new)
        with pytest.raises(Refused, match="unknown key"):
            await accepts(old)
        await provider.stop()
        await provider.start()  # with new keys
        passed[0] += 301
        assert await accepts(await provider.token())
        await authenticator.close()


async def test_a_token_that_ends_in_the_middle_of_a_stream_loses_no_event() -> None:
    async with Provider(lifetime_s=2) as provider:
        async with site(Jwt(provider.issuer, [AUDIENCE], leeway_s=0)) as stub:
            seen: dict[int, StreamResponse] = {}
            ends = []
            call = stub.SendStreamingMessage(request("count"), metadata=called_with(await provider.token()))
            while not await read_events(call, seen):
                ends.append((await call.code(), dict(await call.trailing_metadata())["www-authenticate"]))
                after = (Key.AFTER, str(max(seen)))
                metadata = called_with(await provider.token(), after)
                call = stub.SubscribeToTask(SubscribeToTaskRequest(id=seen[1].task.id), metadata=metadata)
    expired = 'Bearer error="invalid_token", error_description="expired"'
    assert set(ends) == {(grpc.StatusCode.UNAUTHENTICATED, expired)}
    assert len(ends) >= 2
    assert sorted(seen) == list(range(1, len(seen) + 1))
    said = "".join(text_of(seen[seq].artifact_update.artifact) for seq in sorted(seen))
    assert said.split() == [str(number) for number in range(COUNT)]


async def read_events(call: Any, seen: dict[int, StreamResponse]) -> bool:
    """Read a stream into its events by seq. Return False if the credentials have ended."""
    metadata = dict(await call.initial_metadata())
    seq = int(metadata[Key.SEQ]) if Key.SEQ in metadata else int(metadata[Key.AFTER]) + 1
    try:
        async for element in call:
            assert seq not in seen
            seen[seq] = element
            seq += 1
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_provider_that_starts_after_the_agent_is_found() -> None:
    async with Provider() as provider:
        await provider.stop()
        authenticator = Jwt(provider.issuer, [AUDIENCE])
        passed = [0.0]
        authenticator._keys = KeyCache(provider.issuer, Discovery(provider.issuer), clock=lambda: 1e6 + passed[0])
        async with site(authenticator) as stub:
            await provider.start()
            metadata = called_with(await provider.token())
            found = await refusal(stub.SendMessage(request("who?"), metadata=metadata))
            assert found.code == grpc.StatusCode.UNAVAILABLE
            assert found.retry_after_s == 5
            passed[0] += 5
            assert (await stub.SendMessage(request("who?"), metadata=metadata)).task.status.state == COMPLETED


# -- with the client and the command line


async def test_our_client_finds_the_provider_by_the_card_and_follows_a_stream_through_several_tokens() -> None:
    async with Provider(lifetime_s=2) as provider:
        settings = ServerSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0", drain_grace_s=0.0)
        auth = [Jwt(provider.issuer, [AUDIENCE], leeway_s=0)]
        async with Server(counting(), settings, auth=auth) as server:
            async with connect(str(server.http_url), credentials=oauth2("worker", SECRET)) as client:
                numbers = [
                    text_of(event.artifact)
                    async for event in client.stream("count")
                    if isinstance(event, TaskArtifactUpdateEvent)
                ]
        assert "".join(numbers).split() == [str(number) for number in range(COUNT)]
        assert (await provider.counts())["/oauth/token"] >= 3


async def test_a_user_signs_in_with_a_browser_and_every_verb_uses_the_token_and_renews_it(tmp_path: Path) -> None:
    async with Provider() as provider:
        settings = ServerSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0", drain_grace_s=0.0)
        auth = [Jwt(provider.issuer, [AUDIENCE], owner_claim="team")]
        async with Server(counting(), settings, auth=auth) as server:
            url = str(server.http_url)
            env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "A2A_GRPC_AGENT": url}

            async def command(*words: str) -> asyncio.subprocess.Process:
                return await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "a2a_grpc", *words), env=env, stdout=PIPE, stderr=PIPE
                )

            login = await command("login", url, "--client-id", "cli")
            assert login.stderr is not None
            asked = re.search(r"enter the code (\S+)", (await login.stderr.readline()).decode())
            assert asked is not None
            await provider.decide(asked[1], user="ann")
            _, err = await login.communicate()
            assert login.returncode == 0, err
            out, err = await (await command("send", "who?")).communicate()
            assert b'"subject": "user-1"' in out, err
            file = tmp_path / "a2a-grpc" / "logins.json"
            [(origin, kept)] = json.loads(file.read_text()).items()
            file.write_text(json.dumps({origin: {**kept, "expires_at": 1}}))
            out, err = await (await command("send", "who?")).communicate()
            assert b'"subject": "user-1"' in out, err
            renewed = json.loads(file.read_text())[origin]
            assert renewed["token"] != kept["token"]
            assert renewed["refresh_token"] != kept["refresh_token"]
            await (await command("logout", url)).communicate()
            _, err = await (await command("send", "who?")).communicate()
            assert b"no valid credentials" in err
