"""The encryption of the secrets of push configs, with keys in a file."""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from a2a_grpc.config import ConfigurationError
from a2a_grpc.push.key_file import read_key_file
from a2a_grpc.store import TaskKey
from a2a_grpc.wire import AuthenticationInfo, TaskPushNotificationConfig

KEY_BYTES = 32
NONCE_BYTES = 12
MARK_BYTES = 8
"""The bytes at the beginning of what is encrypted, which say with which key."""
MAX_FILE_BYTES = 64 * 1024


class LockedError(Exception):
    """Secrets cannot be decrypted: their key is unknown, or they were changed, or they belong to another config."""


class Vault:
    """Encrypts and decrypts the secrets of push configs (AES-GCM with keys of 256 bits).

    Guarantees: secrets that were encrypted for one config cannot be decrypted for another config or another url.

    Args:
        keys: Keys of 32 bytes. The first one encrypts. Each of them decrypts what it has encrypted, so that a key is
            replaced by a new one before it.
        source: The name of their file, for errors.
    """

    def __init__(self, keys: Sequence[bytes], source: str = "this process") -> None:
        self._source = source
        self._keys = tuple(keys)
        self._ciphers = {_mark(key): AESGCM(key) for key in keys}
        self._first = _mark(keys[0])

    @classmethod
    def ephemeral(cls) -> "Vault":
        """Return a vault with a key that nothing else knows, for configs that end with the process."""
        return cls([os.urandom(KEY_BYTES)])

    @classmethod
    def from_file(cls, path: Path, *, make: bool) -> "Vault":
        """Read a file with one key a line, in Base64. Empty lines, and those that begin with `#`, have no meaning.

        Args:
            path: The file.
            make: True to make the file, with mode 0600, if it does not exist. Programs that start at the same time get
                the same key.

        Raises:
            ConfigurationError: The file cannot be read or written, or has no such key.
        """
        content = read_key_file("secrets_key_file", path, _new_file if make else None, most=MAX_FILE_BYTES)
        return cls(_keys(path, content), str(path))

    def derived(self, purpose: str) -> list[bytes]:
        """Return a key for another purpose from each key, in their order. The key cannot be computed from it.

        Args:
            purpose: A text that no other purpose has.
        """
        return [hmac.digest(key, purpose.encode(), hashlib.sha256) for key in self._keys]

    def seal(self, key: TaskKey, config: TaskPushNotificationConfig) -> tuple[bytes, bytes]:
        """Return the serialised config without its secrets, and the secrets, encrypted; empty if it has none.

        Args:
            key: The name of the task.
            config: The config, with its id.
        """
        public = TaskPushNotificationConfig()
        public.CopyFrom(config)
        secret = TaskPushNotificationConfig(token=config.token)
        public.ClearField("token")
        if config.authentication.credentials:
            secret.authentication.CopyFrom(AuthenticationInfo(credentials=config.authentication.credentials))
            public.authentication.ClearField("credentials")
        if not secret.ByteSize():
            return public.SerializeToString(), b""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, secret.SerializeToString(), _owner(key, public))
        return public.SerializeToString(), self._first + nonce + sealed

    def open(self, key: TaskKey, config: bytes, secrets: bytes) -> TaskPushNotificationConfig:
        """Return a config with its secrets in clear.

        Args:
            key: The name of the task.
            config: The serialised config.
            secrets: Its secrets, encrypted.

        Raises:
            LockedError: The secrets cannot be decrypted.
        """
        public = TaskPushNotificationConfig.FromString(config)
        if not secrets:
            return public
        mark, nonce, sealed = (
            secrets[:MARK_BYTES],
            secrets[MARK_BYTES:][:NONCE_BYTES],
            secrets[MARK_BYTES + NONCE_BYTES :],
        )
        if (cipher := self._ciphers.get(mark)) is None:
            raise LockedError(f"{self._source} does not have the key that encrypted the secrets of this config")
        try:
            opened = cipher.decrypt(nonce, sealed, _owner(key, public))
        except InvalidTag:
            raise LockedError("the secrets of this config were changed in the store") from None
        public.MergeFrom(TaskPushNotificationConfig.FromString(opened))
        return public


def _new_file() -> str:
    return new_key() + "\n"


def new_key() -> str:
    """Return the text of a new key, for a line of the file."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _mark(key: bytes) -> bytes:
    """Return bytes that tell a key from others, and tell nothing of it."""
    return hashlib.sha256(b"a2a-grpc push " + key).digest()[:MARK_BYTES]


def _owner(key: TaskKey, public: TaskPushNotificationConfig) -> bytes:
    """Return what the secrets are bound to: the config that they belong to, and the place to which they are sent."""
    digest = hashlib.sha256()
    for part in (*key, public.id, public.url, public.authentication.scheme):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()


def _keys(path: Path, content: bytes) -> list[bytes]:
    keys = []
    lines = [line.strip() for line in content.splitlines()]
    for number, line in enumerate(lines, 1):
        if not line or line.startswith(b"#"):
            continue
        try:
            key = base64.b64decode(line, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigurationError(
                f"secrets_key_file {path}: line {number} is not a key of {KEY_BYTES} bytes in Base64; "
                "make one with: openssl rand -base64 32"
            )
        keys.append(key)
    if not keys:
        raise ConfigurationError(f"secrets_key_file {path}: has no key; make one with: openssl rand -base64 32")
    return keys
