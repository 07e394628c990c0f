"""Private keys with a password: one sentence says what to do, for a server and for a client."""

import shlex
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.cli.terminal import error_of, run

USAGE = 2
FORMS = {"PKCS 8": PrivateFormat.PKCS8, "traditional": PrivateFormat.TraditionalOpenSSL}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("setting", ["tls_key", "client_key"])
async def test_a_key_with_a_password_is_refused_with_the_command_that_writes_one_without(
    setting: str, form: str, tmp_path: Path
) -> None:
    made = trustme.CA().issue_cert("localhost")
    certificate, key, agent = tmp_path / "cert.pem", tmp_path / "my key.pem", tmp_path / "agent.py"
    made.cert_chain_pems[0].write_to_path(str(certificate))
    plain = load_pem_private_key(made.private_key_pem.bytes(), None)
    key.write_bytes(plain.private_bytes(Encoding.PEM, FORMS[form], BestAvailableEncryption(b"secret")))
    agent.write_text("from a2a_grpc import Agent\nagent = Agent('One', 'Is one.')\n")
    agent.write_text(agent.read_text() + "@agent.skill('x')\nasync def x(turn): return 'x'\n")
    serve = ("serve", str(agent), "--store=memory:", "--listen=127.0.0.1:0", "--http-listen=off")
    commands = {
        "tls_key": (*serve, "--tls-cert", str(certificate), "--tls-key", str(key)),
        "client_key": ("send", "hi", "--agent=grpcs://127.0.0.1:1", "--client-cert", str(certificate),
                       "--client-key", str(key)),
    }  # fmt: skip
    said = error_of(await run(*commands[setting]), USAGE)
    sentence, _, command = said.partition(": (umask 077; ")
    assert sentence == (
        f"{setting} '{key}' is a key with a password, which gRPC cannot read; write the key without its password to a "
        "file that only this user can read"
    )
    assert shlex.split(command.removesuffix(")")) == ["openssl", "pkey", "-in", str(key), "-out", "plain.pem"]
