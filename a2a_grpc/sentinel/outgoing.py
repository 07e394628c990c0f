"""How a sentinel or an agent calls servers, by settings of clients with a prefix, such as `peer_ca_cert`."""

import re
from typing import Any

from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.regular import MAX_TOKEN_BYTES, read_regular

FILES = {"ca_cert": "ca_cert", "client_cert": "cert", "client_key": "key"}
"""The settings of a client that name files, and how the same settings are named here after their prefix."""


def client_of(settings: object, prefix: str, **more: Any) -> ClientSettings:
    """Return how servers are called, by the settings that begin with a prefix. Further settings are those of a client.

    Raise ConfigurationError for values that do not fit each other.
    """
    files: dict[str, Any] = {name: getattr(settings, f"{prefix}_{end}", None) for name, end in FILES.items()}
    try:
        return ClientSettings(plaintext=getattr(settings, f"{prefix}_plaintext"), **files, **more)
    except ConfigurationError as error:
        raise renamed(error, prefix) from None


def renamed(error: ConfigurationError, prefix: str) -> ConfigurationError:
    """Return an error about the files of a client as one about the settings that begin with a prefix."""
    names = "|".join(FILES)
    said = re.sub(rf"\b(?:{names})\b(?= )", lambda found: f"{prefix}_{FILES[found[0]]}", str(error))
    return ConfigurationError(said)


async def check_files(address: Address, client: ClientSettings, prefix: str) -> None:
    """Raise ConfigurationError if the files of a client cannot be used. The first call would report this late."""
    try:
        await open_channel(address, client).close()
    except ConfigurationError as error:
        raise renamed(error, prefix) from None


def token_in(name: str, path: str) -> str:
    """Return the token that a file holds. Raise ConfigurationError, which names the setting, if it cannot be read.

    Read the file again whenever the token is needed, since tokens are replaced.
    """
    try:
        return read_regular(path, MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no token"
        raise ConfigurationError(f"{name} '{path}' cannot be read: {why}") from None
