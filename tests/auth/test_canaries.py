"""Nothing secret is in a log, a status, the audit log, the card or a task, whatever callers and agents do."""

import base64
import json
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Server, ServerSettings, Turn
from a2a_grpc.auth import AuthSettings
from a2a_grpc.auth.jwt import Jwt
from a2a_grpc.auth.keys import ApiKeys
from a2a_grpc.wire import A2AServiceStub
from tests.auth.issuer import AUDIENCE, Issuer
from tests.auth.test_keys import add
from tests.covers import covers
from tests.harness import V1, request
from tests.regressions.faults import every_rpc

CANARY = "canary0123456789"
KEY = "a2a_" + CANARY.encode().hex() * 2


def _agent() -> Agent:
    agent = Agent("Careful", "Keeps secrets.", default_skill="fail")

    @agent.skill("fail")
    async def fail(turn: Turn) -> str:
        raise ValueError(f"could not serve {turn.principal.subject}")

    @agent.skill("denied", scopes=["never"])
    async def denied(turn: Turn) -> str:
        return ""

    return agent


def _parts(token: str) -> set[str]:
    """What of a credential must not be seen: itself, and each long piece of it."""
    return {token, *(part for part in token.split(".") if len(part) > 15)}


async def _try(stub: A2AServiceStub, *credentials: tuple[str, str]) -> list[str]:
    """Call each RPC, and a skill that is not allowed. Return all that the caller gets to see."""
    said: list[str] = []
    calls = {name: (name, asked) for name, asked in every_rpc().items()}
    denied = request("hello")
    denied.message.metadata["skill"] = "denied"
    calls["denied"] = ("SendMessage", denied)
    calls["broken"] = ("SendMessage", request("\0"))
    for name, asked in calls.values():
        call: Any = getattr(stub, name)(asked, metadata=(*V1, *credentials))
        try:
            said += [str(element) async for element in call] if hasattr(call, "__aiter__") else [str(await call)]
        except grpc.aio.AioRpcError as error:
            said.append(f"{error.code()} {error.details()}")
        said += [f"{key}={value!r}" for key, value in await call.trailing_metadata() or ()]
        said += [f"{key}={value!r}" for key, value in await call.initial_metadata() or ()]
    return said


@covers("SEC-7")
async def test_credentials_are_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("a2a_grpc", "grpc", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    audit, keys = tmp_path / "audit.jsonl", tmp_path / "keys.toml"
    add(keys, KEY)
    async with Issuer() as issuer:
        settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", store=f"sqlite:///{tmp_path}/tasks.db")
        server = Server(
            _agent(),
            settings,
            auth=[ApiKeys(keys), Jwt(issuer.url, [AUDIENCE])],
            callers=AuthSettings(audit_log=str(audit), auth_failures_per_minute=100),
        )
        secrets: set[str] = set()
        said: list[str] = []
        async with server, grpc.aio.insecure_channel(server.grpc_address) as channel:
            stub = A2AServiceStub(channel)
            good = issuer.token(sub="user", note=CANARY)
            bad = [
                issuer.token(exp=1, note=CANARY),
                issuer.token(aud=CANARY),
                issuer.token(key_id=CANARY),
                issuer.token(note="x" * 9000),
                good + CANARY,
                base64.b64encode(CANARY.encode()).decode(),
                "a2a_" + CANARY,
            ]
            for token in [good, *bad, KEY]:
                secrets |= _parts(token)
                said += await _try(stub, ("authorization", f"Bearer {token}"))
            said += await _try(stub, ("authorization", f"Basic {CANARY}"))
            said += await _try(stub, ("authorization", f"Bearer {good}"), ("authorization", CANARY))
            said += await _try(stub, ("x-api-key", CANARY))
            said += await _try(stub, ("x-api-key", KEY))
            said += await _try(stub, ("x-secret", CANARY), ("x-secret-bin", CANARY.encode()))  # type: ignore[arg-type]
            said.append(str(server.card))
        secrets |= {CANARY, CANARY.encode().hex()}
    written = [audit.read_text(), caplog.text, *said]
    for path in tmp_path.glob("tasks.db*"):
        written.append(path.read_bytes().decode("latin-1"))
    for secret in secrets - {CANARY}:
        assert not [text for text in written if secret in text]
    # The claims of a valid token are the agent's to know; they are nowhere else.
    assert not [text for text in (*said, audit.read_text(), caplog.text) if CANARY in text]
    assert "could not serve user" in caplog.text, "the log was captured"
    assert len(audit.read_text().splitlines()) > 100
    assert {json.loads(line).get("subject") for line in audit.read_text().splitlines()} == {None, "user", "alice"}
