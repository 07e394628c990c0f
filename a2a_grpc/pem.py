"""Private keys in PEM files, as gRPC reads them."""

from a2a_grpc.config import ConfigurationError

_ENCRYPTED = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


def check_plain_key(setting: str, path: str, content: bytes) -> None:
    """Raise ConfigurationError for a key that is encrypted: gRPC reads plain keys alone, and OpenSSL would ask for the
    password at the terminal."""
    if any(mark in content for mark in _ENCRYPTED):
        raise ConfigurationError(
            f"{setting} '{path}' is encrypted, and gRPC reads no encrypted keys; write it in plain where only "
            f"this user can read it: (umask 077; openssl pkey -in {path} -out plain.pem)"
        )
