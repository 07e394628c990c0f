"""Check private keys in PEM files, which gRPC has to read."""

import shlex

from a2a_grpc.config import ConfigurationError

_ENCRYPTED = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


def check_plain_key(setting: str, path: str, content: bytes) -> None:
    """Raise ConfigurationError for a key with a password. gRPC cannot read it, and OpenSSL would ask at the
    terminal."""
    if any(mark in content for mark in _ENCRYPTED):
        command = f"(umask 077; openssl pkey -in {shlex.quote(path)} -out plain.pem)"
        raise ConfigurationError(
            f"{setting} '{path}' is a key with a password, which gRPC cannot read; write the key without its password "
            f"to a file that only this user can read: {command}"
        )
