"""Push notifications of a server: whether it can offer them, and their parts."""

import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.sqlite_file import sqlite_file
from a2a_grpc.engine import PeriodicTasks
from a2a_grpc.log import Log
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.versions import MIN_AIOHTTP, is_at_least
from a2a_grpc.store import Outbox

if TYPE_CHECKING:
    from a2a_grpc.push.callback_settings import CallbackSettings
    from a2a_grpc.push.configs import Configs
    from a2a_grpc.push.delivery import Destination
    from a2a_grpc.push.sender import Holder, Sender
    from a2a_grpc.push.settings import WebhookSettings
    from a2a_grpc.push.vault import Vault
    from a2a_grpc.telemetry.deliveries import DeliverySpans

logger = logging.getLogger("a2a_grpc.server")

KEY_SUFFIX = ".secrets-key"
"""What the name of the file with the keys adds to the name of an SQLite file."""
SIGNING_SUFFIX = ".push-key"
"""What the name of the file with the key of signatures adds to the name of an SQLite file."""
ROUND_S = 0.5
"""Seconds between two looks for push notifications that are due, or that were deleted by another process."""
LAST_S = 1.0
"""Seconds that notifications at work have when the server stops."""


class Pushing:
    """The parts that send push notifications.

    Attributes:
        configs: The configs of tasks.
        sender: The deliveries of this process.
        jwks: The public keys of signatures as a JSON web key set; None without a key.
        token_keys: The keys of the tokens for callbacks to this agent.
    """

    def __init__(self, configs: "Configs", sender: "Sender", jwks: bytes | None, token_keys: Sequence[bytes]) -> None:
        self.configs = configs
        self.sender = sender
        self.jwks = jwks
        self.token_keys = token_keys

    def start(self, periodic: PeriodicTasks) -> None:
        """Deliver what is due from now on, in rounds that `periodic` makes."""
        periodic.every(ROUND_S, "push", self.sender.round, self.sender.topic)

    async def stop(self) -> None:
        """End the deliveries of this process, which others go on with."""
        await self.sender.stop(LAST_S)


def problem(settings: PushSettings, store_url: str, store: object | None = None) -> str:
    """Return why push notifications cannot be offered; "" if they can.

    Args:
        settings: The settings.
        store_url: The URL of the store.
        store: The store, if it has no URL.
    """
    if find_spec("cryptography") is None or not _has_aiohttp():
        return f'they need cryptography and aiohttp {MIN_AIOHTTP}: pip install "a2a-grpc[push]"'
    if store is not None and not has_outbox(store):
        return f"the store, a {type(store).__name__}, keeps no push configs; it lacks the methods of Outbox"
    if settings.secrets_key_file is None and _is_shared(store_url):
        return "replicas that share a database need one file of keys: give --secrets-key-file FILE"
    return ""


def has_outbox(store: object) -> bool:
    """Return True if a store has the methods of `Outbox`."""
    return all(hasattr(store, name) for name in vars(Outbox) if not name.startswith("_"))


def open_pushing(
    settings: PushSettings,
    webhooks: "WebhookSettings",
    callbacks: "CallbackSettings",
    store_url: str,
    log: Log,
    holder: "Holder",
    spans: "DeliverySpans | None" = None,
) -> Pushing:
    """Return the parts that send push notifications.

    Args:
        settings: The settings.
        webhooks: The settings of webhooks. What they allow is allowed for callbacks, too.
        callbacks: The settings of callbacks to agents.
        store_url: The URL of the store; "" for a store without one.
        log: The log of tasks.
        holder: This process among those that share the store.
        spans: Begins the spans of deliveries; None for none.

    Raises:
        ConfigurationError: A file of keys cannot be used.
    """
    from a2a_grpc.push.allowed import DestinationPolicy
    from a2a_grpc.push.callbacks import Callbacks
    from a2a_grpc.push.configs import Configs
    from a2a_grpc.push.routes import Routes
    from a2a_grpc.push.sender import Sender
    from a2a_grpc.push.signing import SigningKey
    from a2a_grpc.push.traced import Traced
    from a2a_grpc.push.webhooks import Webhooks

    outbox, vault = log.store, _vault(settings, store_url)
    if not isinstance(outbox, Outbox):
        raise ConfigurationError(f"push: {problem(settings, store_url, outbox)}")
    path = webhooks.push_signing_key or next_to_store(store_url, SIGNING_SUFFIX)
    key = SigningKey.from_file(Path(path)) if path else None
    posting = Webhooks(webhooks, key=key)
    calling = Callbacks(DestinationPolicy(webhooks.rules), callbacks, timeout_s=webhooks.push_timeout_s)
    schemes: dict[str, Destination] = dict.fromkeys(Webhooks.SCHEMES, posting)
    destination: Destination = Routes({**schemes, **dict.fromkeys(Callbacks.SCHEMES, calling)}, logical=calling)
    if spans is not None:
        destination = Traced(destination, spans)
    sender = Sender(log, outbox, vault, destination, holder, sends_all=settings.push_events == "all")
    kept = (outbox, vault, destination, sender, settings.max_push_configs)
    configs = Configs(*kept, spans.origin) if spans is not None else Configs(*kept)
    return Pushing(configs, sender, key.jwks() if key is not None else None, vault.derived("callback tokens"))


def _vault(settings: PushSettings, store_url: str) -> "Vault":
    from a2a_grpc.push.vault import Vault

    if settings.secrets_key_file is not None:
        return Vault.from_file(Path(settings.secrets_key_file), make=not _is_shared(store_url))
    path = next_to_store(store_url, KEY_SUFFIX)
    return Vault.from_file(Path(path), make=True) if path else Vault.ephemeral()


def next_to_store(store_url: str, suffix: str) -> str:
    """Return the path of a file whose name begins with that of the SQLite file of a store, or "" for other stores."""
    file = sqlite_file(store_url)
    return f"{file}{suffix}" if file else ""


def _is_shared(store_url: str) -> bool:
    """Return True for a database that several machines may use."""
    return store_url.startswith(("postgres", "mysql", "mariadb"))


def _has_aiohttp() -> bool:
    try:
        return is_at_least(version("aiohttp"), MIN_AIOHTTP)
    except (PackageNotFoundError, ValueError):
        return False
