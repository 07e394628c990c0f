"""What the agent card says of credentials: it is derived from the authenticators, and never written twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format

from a2a_grpc import Agent, Server, ServerSettings, Turn
from a2a_grpc.auth import ApiKeys, Authenticator, CallCredentials, ClientCertificates, anonymous
from a2a_grpc.auth.described import secure
from a2a_grpc.client.card import problems_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from a2a_grpc.wire import (
    AgentCard,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from tests.covers import covers
from tests.harness import ROOT

KEYS, CERTIFICATES = ApiKeys("keys.toml"), ClientCertificates()


class Tokens:
    """An authenticator of another program, which describes itself."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        return None

    def schemes(self) -> dict[str, SecurityScheme]:
        return {"own": SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme=self._scheme))}

    def challenge(self) -> str:
        return self._scheme


async def undescribed(credentials: CallCredentials, /) -> Principal | None:
    return None


def card() -> AgentCard:
    return AgentCard(name="A", skills=[AgentSkill(id="read"), AgentSkill(id="write")])


def requirements(of: AgentCard | AgentSkill) -> list[dict[str, list[str]]]:
    return [
        {name: list(scopes.list) for name, scopes in requirement.schemes.items()}
        for requirement in of.security_requirements
    ]


@covers("SEC-3", "SCHM-1")
def test_each_authenticator_is_a_scheme_and_an_alternative() -> None:
    declared = card()
    secured = secure(declared, [KEYS, CERTIFICATES, undescribed])
    key = secured.security_schemes["api_key"].api_key_security_scheme
    assert (key.location, key.name) == ("header", "x-api-key")
    assert secured.security_schemes["api_key_bearer"].http_auth_security_scheme.scheme == "Bearer"
    assert secured.security_schemes["mutual_tls"].HasField("mtls_security_scheme")
    assert requirements(secured) == [{"api_key": []}, {"api_key_bearer": []}, {"mutual_tls": []}]
    assert [requirements(skill) for skill in secured.skills] == [[], []]
    assert declared == card(), "the declaration of the agent stays as it is"


def test_without_authenticators_the_card_stays_as_it_is() -> None:
    assert secure(card(), []) == card()
    assert secure(card(), [undescribed]) == card()


def test_a_skill_with_scopes_has_requirements_of_its_own() -> None:
    secured = secure(card(), [KEYS, CERTIFICATES, anonymous], {"write": ("tasks.write", "admin"), "read": ()})
    needed = [{name: ["admin", "tasks.write"]} for name in ("api_key", "api_key_bearer", "mutual_tls")]
    assert requirements(secured) == [{"api_key": []}, {"api_key_bearer": []}, {"mutual_tls": []}, {}]
    assert [requirements(skill) for skill in secured.skills] == [[], needed]


def test_two_authenticators_with_one_name_have_two_schemes_if_they_differ() -> None:
    secured = secure(card(), [Tokens("Bearer"), Tokens("DPoP"), Tokens("Bearer")])
    assert requirements(secured) == [{"own": []}, {"own_2": []}]
    assert secured.security_schemes["own_2"].http_auth_security_scheme.scheme == "DPoP"


def test_a_scheme_that_the_card_declares_stays_unless_it_has_the_name_of_a_derived_one() -> None:
    declared = card()
    declared.security_schemes["mine"].http_auth_security_scheme.scheme = "Basic"
    declared.security_requirements.append(SecurityRequirement(schemes={"mine": StringList()}))
    secured = secure(declared, [KEYS, undescribed])
    assert requirements(secured) == [{"mine": []}, {"api_key": []}, {"api_key_bearer": []}]
    assert secured.security_schemes["mine"].http_auth_security_scheme.scheme == "Basic"
    declared.security_schemes["api_key"].http_auth_security_scheme.scheme = "Basic"
    with pytest.raises(ConfigurationError, match="the card declares the security scheme 'api_key', which the server"):
        secure(declared, [KEYS])


def made(*authenticators: Authenticator) -> Server:
    agent = Agent("Keeper", "Keeps notes.")

    @agent.skill()
    async def read(turn: Turn) -> str:
        """Read."""
        return "read"

    @agent.skill(scopes=["notes.write"])
    async def write(turn: Turn) -> str:
        """Write."""
        return "written"

    return Server(agent, ServerSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0"), auth=authenticators)


async def test_the_served_card_is_valid_and_the_official_sdk_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("# no keys yet\n")
    async with made(ApiKeys(tmp_path / "keys.toml"), anonymous) as server:
        text = json_format.MessageToJson(server.card)
        assert problems_of(server.card, "here", card_host="127.0.0.1", any_host=False) == []
    assert json.loads(text)["securityRequirements"] == [
        {"schemes": {"api_key": {}}},
        {"schemes": {"api_key_bearer": {}}},
        {},
    ]
    code = (
        "import json, sys; from a2a.client.card_resolver import parse_agent_card\n"
        "card = parse_agent_card(json.load(sys.stdin))\n"
        "print([{name: list(of.list) for name, of in one.schemes.items()} for one in card.security_requirements])\n"
        "print([{name: list(of.list) for name, of in one.schemes.items()} for skill in card.skills"
        " for one in skill.security_requirements])\n"
        "print(card.security_schemes['api_key'].api_key_security_scheme.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines() == [
        "[{'api_key': []}, {'api_key_bearer': []}, {}]",
        "[{'api_key': ['notes.write']}, {'api_key_bearer': ['notes.write']}]",
        "x-api-key",
    ]


async def test_a_server_refuses_a_scheme_that_is_written_twice_before_it_listens() -> None:
    server = made(KEYS)
    server.agent.card.security_schemes["api_key"].http_auth_security_scheme.scheme = "Basic"
    with pytest.raises(ConfigurationError, match="the card declares the security scheme 'api_key'"):
        await server.start()
    assert server.grpc_address == ""
