"""The file of `--auth`: what it makes of each table, with the short forms, and what is said of a wrong one."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc.auth import ApiKeys, AuthSettings, CallCredentials, ClientCertificates, Jwt, anonymous
from a2a_grpc.auth.file import Accepted, accepted
from a2a_grpc.auth.keyfile import digest_of
from a2a_grpc.config import ConfigurationError

ISSUER = "https://id.example"
KEY = "a2a_" + "a1" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys.toml").write_text(f"[[key]]\nname = 'alice'\nsha256 = '{digest_of(KEY)}'\n")
    return tmp_path


def read(folder: Path, text: str, *, client_ca: str | None = None, **settings: Any) -> Accepted:
    (folder / "auth.toml").write_text(text)
    return accepted(AuthSettings(auth=str(folder / "auth.toml"), **settings), client_ca=client_ca)


ALL = """\
[keys]
file = "keys.toml"
header = "X-Agent-Key"

[[jwt]]
issuer = "https://id.example"
audience = "a2a"

[[jwt]]
issuer = "https://other.example/realm"
audiences = ["a2a", "agents"]
algorithms = ["ES256"]
leeway_s = 5
required = ["exp", "sub", "jti"]
jwks_url = "https://other.example/keys"
tenant_claim = "org"
scopes_claim = "permissions"
owner_claim = "team"

[certificates]
client_ca = "clients.pem"

[certificates.tenants]
"spiffe://example.org/batch" = ["acme", ""]

[certificates.scopes]
"spiffe://example.org/batch" = ["read"]

[anonymous]
allow = true
"""


async def test_each_table_is_an_authenticator_and_paths_are_relative_to_the_file(folder: Path) -> None:
    found = read(folder, ALL)
    keys, one, other, certificates, last = found.authenticators
    assert isinstance(keys, ApiKeys)
    assert isinstance(one, Jwt)
    assert isinstance(other, Jwt)
    assert isinstance(certificates, ClientCertificates)
    assert last is anonymous
    assert (one.issuer, other.issuer) == (ISSUER, "https://other.example/realm")
    assert found.client_ca == str(folder / "clients.pem")
    await keys.open()
    caller = await keys(CallCredentials(metadata={"x-agent-key": (KEY,)}))
    assert caller is not None
    assert caller.subject == "alice"


def test_the_file_and_the_short_forms_combine(folder: Path) -> None:
    keys, one, other, certificates = read(
        folder,
        "[[jwt]]\nissuer = 'https://other.example'\naudience = 'a2a'\n",
        api_keys=str(folder / "keys.toml"),
        jwt_issuer=ISSUER,
        jwt_audience="a2a",
        client_ca="clients.pem",
    ).authenticators
    assert [type(one) for one in (keys, certificates)] == [ApiKeys, ClientCertificates]
    assert isinstance(one, Jwt)
    assert isinstance(other, Jwt)
    assert [one.issuer, other.issuer] == [ISSUER, "https://other.example"]


def test_the_same_file_may_be_named_twice(folder: Path) -> None:
    text = "[keys]\nfile = 'keys.toml'\nheader = 'x-own'\n[certificates]\nclient_ca = 'clients.pem'\n"
    found = read(folder, text, api_keys=str(folder / "keys.toml"), client_ca=str(folder / "clients.pem"))
    keys, certificates = found.authenticators
    assert isinstance(keys, ApiKeys)
    assert keys.schemes()["api_key"].api_key_security_scheme.name == "x-own"
    assert isinstance(certificates, ClientCertificates)


def test_without_settings_nothing_is_asked_for() -> None:
    assert accepted(AuthSettings()) == Accepted()


def test_a_file_may_accept_anonymous_callers_only(folder: Path) -> None:
    assert read(folder, "[anonymous]\nallow = true\n") == Accepted((anonymous,))


JWT = f"[[jwt]]\nissuer = '{ISSUER}'\n"

WRONG = {
    "": "the file is empty",
    "# nothing": "the file accepts no credentials; it needs [keys], [[jwt]] or [certificates], or [anonymous]",
    "[anonymous]\nallow = false": "the file accepts no credentials",
    "[key]\nfile = 'k'": "the table 'key' is unknown; known tables: anonymous, certificates, jwt, keys; did",
    "[tokens]\nissuer = 'k'": "the table 'tokens' is unknown; known tables: anonymous, certificates, jwt, keys",
    "keys = 'keys.toml'": "[keys] must be a table",
    "issuer = 'x'": "the key 'issuer' is unknown; known tables: ",
    "[keys]\nheader = 'x'": "[keys]: the key 'file' is missing",
    "[keys]\nfil = 'x'": "[keys]: the key 'fil' is unknown; did you mean 'file'?",
    "[keys]\nfile = 3": "[keys]: file is 3; it must be a text of printable characters",
    "[keys]\nfile = 'k'\nheader = 'authorization'": "[keys]: the header of API keys is 'authorization'; it must have",
    "[jwt]\nissuer = 'x'": "[jwt] must be written [[jwt]], since there may be several issuers",
    "[[jwt]]\naudience = 'x'": "[[jwt]] 1: the key 'issuer' is missing",
    JWT: "[[jwt]] 1: the key 'audiences' is missing",
    JWT + "audience = 'a'\naudiences = ['b']": "[[jwt]] 1: give only one of audience and audiences",
    JWT + "audiences = 'a'": "[[jwt]] 1: audiences is 'a'; it must be a list of texts",
    JWT + "audience = 'a'\nleeway_s = -1": "[[jwt]] 1: leeway_s is -1; it must be a number of 0 or more",
    JWT + "audience = 'a'\nleeway_s = '60'": "[[jwt]] 1: leeway_s is '60'; it must be a number of 0 or more",
    JWT + "audience = 'a'\nalgorithms = ['HS256']": "[[jwt]] 1: algorithms has 'HS256'; it must be among",
    JWT + "audience = 'a'\njwks_url = 'u'\njwks_file = 'f'": "[[jwt]] 1: give only one of jwks_url and jwks_file",
    JWT + "audience = 'a'\njwks_url = 'ftp://x'": "[[jwt]] 1: jwks_url 'ftp://x'",
    JWT
    + "audience = 'a'\n"
    + JWT
    + "audience = 'b'": f"[[jwt]] 2: issuer is '{ISSUER}', which [[jwt]] 1 names as well",
    JWT + "audience = 'a'\nsecret = 'canary'": "[[jwt]] 1: the key 'secret' is unknown",
    "[certificates]": "[certificates]: the key 'client_ca' is missing; it names the file with the CAs",
    "[certificates]\nclient_ca = 'c'\n[certificates.tenants]\nx = 'a'": "[certificates.tenants]: x is 'a'; it must be",
    "[certificates]\nclient_ca = 'c'\ntenants = ['a']": "[certificates.tenants] must be a table",
    "[anonymous]\nallow = 'yes'": "[anonymous]: allow is 'yes'; it must be true or false",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_refused_by_file_table_and_key(folder: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, text)
    assert str(refused.value).startswith(f"{folder / 'auth.toml'}: {WRONG[text]}")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (
            "[keys]\nfile = 'keys.toml'",
            {"api_keys": "other.toml"},
            "[keys] names '{folder}/keys.toml', and --api-keys is",
        ),
        (JWT + "audience = 'a'", {"jwt_issuer": ISSUER, "jwt_audience": "a"}, "which --jwt-issuer names as well"),
        (
            "[certificates]\nclient_ca = 'c'",
            {"client_ca": "other.pem"},
            "and --tls-client-ca is 'other.pem'; give only",
        ),
    ],
)
def test_a_file_and_a_short_form_that_differ_are_refused(
    folder: Path, text: str, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, text, **settings)
    assert said.replace("{folder}", str(folder)) in str(refused.value)


def test_a_missing_package_is_named_with_what_installs_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match=r'pip install "a2a-grpc\[auth\]"'):
        read(folder, JWT + "audience = 'a'")


def test_a_file_that_is_not_regular_is_refused_at_once(folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    for path, said in (
        (pipe, "it is not a regular file"),
        (Path("/dev/zero"), "it is not a regular file"),
        (folder, "Is a"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            accepted(AuthSettings(auth=str(path)))
        assert str(refused.value).startswith(f"{path}: cannot be read: {said}")


def test_a_file_that_others_can_write_is_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "auth.toml"
    path.write_text("[keys]\nfile = 'keys.toml'\n")
    path.chmod(0o664)
    for _ in range(2):
        accepted(AuthSettings(auth=str(path)))
    said = f"other users can write a file of credentials file={path} mode=0664 do='chmod 600 {path}'"
    assert caplog.text.count(said) == 1
