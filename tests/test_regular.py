"""Files that settings name: regular files within a limit are read, and everything else is refused at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from a2a_grpc.cli import stored
from a2a_grpc.cli.credentials import of_options
from a2a_grpc.client import ClientSettings, bearer
from a2a_grpc.client.card_source import read_card_file
from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.credentials import entries_of
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.client.target import grpc_address
from a2a_grpc.client.trust import trusting
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.listening.tls import TlsFiles
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.key_file import read_key_file
from a2a_grpc.push.webhooks import _tls
from a2a_grpc.regular import MAX_TOKEN_BYTES, read_regular
from a2a_grpc.sentinel.outgoing import token_in
from a2a_grpc.sentinel.signing import Signer
from a2a_grpc.watched import Watched

FAR = grpc_address("grpcs://agent.example")
READERS: dict[str, Callable[[str], object]] = {
    "a card": read_card_file,
    "ca_cert": lambda path: open_channel(FAR, ClientSettings(ca_cert=path)),
    "client_cert": lambda path: open_channel(FAR, ClientSettings(client_cert=path, client_key=path)),
    "ca_cert of HTTP": trusting,
    "ca_cert of OAuth 2.0": lambda path: trusting(path, also_system=True),
    "client_cert of HTTP": lambda path: trusting(None, path, path),
    "tls_cert": lambda path: TlsFiles(ListenSettings(tls_cert=path, tls_key=path)),
    "signing_key": Signer,
    "attach_token_file": lambda path: token_in("attach_token_file", path),
    "callback_tokens": lambda path: CallbackSettings(callback_tokens=f"far.example:1={path}"),
    "secrets_key_file": lambda path: read_key_file("secrets_key_file", Path(path), None, most=99),
    "push_ca_cert": _tls,
    "ssl_ca": lambda path: DatabaseUrl.parse(f"mysql://one@host/db?ssl_mode=verify_ca&ssl_ca={path}"),
}


def test_pipes_devices_and_large_files_are_refused_at_once_wherever_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.touch()
    os.truncate(large, 65 << 20)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    stored.path().parent.mkdir()
    for path, why in ((str(pipe), "not a regular file"), ("/dev/zero", "not a regular file"), (str(large), "bytes")):
        for name, read in READERS.items():
            with pytest.raises((ConfigurationError, AgentCardError)) as refused:
                read(path)
            assert why in str(refused.value), name
            assert path in str(refused.value), name
        assert of_options({"token_file": path}, ca_cert=None, hide=lambda secrets: None).secrets == ("",)
        Watched(path)
        stored.path().unlink(missing_ok=True)
        stored.path().symlink_to(path)
        with pytest.raises(ConfigurationError, match="logins"):
            stored.logins()


async def test_a_token_is_read_through_links_and_from_a_file_of_at_most_64_kib(tmp_path: Path) -> None:
    """Kubernetes mounts a secret as a link to a file in a folder that is itself a link."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "token"
    file.symlink_to("..data/token")
    file.write_text("t" * MAX_TOKEN_BYTES)
    assert await entries_of([bearer(file)]) == {"authorization": f"Bearer {'t' * MAX_TOKEN_BYTES}"}
    assert read_regular("/proc/self/stat")  # its size is 0
    file.write_text("t" * (MAX_TOKEN_BYTES + 1))
    for path, why in ((file, "it has more than 65536 bytes"), (Path("/dev/zero"), "it is not a regular file")):
        with pytest.raises(ConfigurationError, match=f"cannot read the credentials in {path}: {why}"):
            await entries_of([bearer(path)])
