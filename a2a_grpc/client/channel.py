"""The channel to an address, with its encryption and its options."""

import ssl
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import grpc
import grpc.aio

from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address
from a2a_grpc.config import ConfigurationError, for_grpc
from a2a_grpc.pem import check_plain_key
from a2a_grpc.regular import MAX_PEM_BYTES, read_regular

MAX_METADATA_BYTES = 1 << 20
"""The largest size of the metadata of a response. A text of a status that is not ASCII takes three times its size."""


def speaks_tls(address: Address, settings: ClientSettings) -> bool:
    """Return True if calls to an address use TLS (OPEN-6).

    They do if the target or the settings say so, and if the address is on another machine, unless plaintext is set.
    """
    if settings.plaintext:
        if address.tls:
            raise ConfigurationError(f"target {address} wants TLS, the settings want plaintext")
        return False
    if address.tls is not None:
        return address.tls
    return bool(settings.ca_cert or settings.client_cert) or not address.is_local


def open_channel(
    address: Address,
    settings: ClientSettings,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    more: Mapping[str, int] = {},
) -> grpc.aio.Channel:
    """Return a channel that is not connected yet. Raise ConfigurationError for certificates that cannot be read.

    Args:
        address: The address of the agent.
        settings: How to connect.
        interceptors: Interceptors of gRPC.
        more: Arguments of the channel, which replace those of the client.
    """
    tls = speaks_tls(address, settings)
    options = list({**dict(_options(address, settings, tls)), **more}.items())
    if not tls:
        return grpc.aio.insecure_channel(address.dial, options=options, interceptors=interceptors)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_pem("ca_cert", settings.ca_cert),
        private_key=_pem("client_key", settings.client_key),
        certificate_chain=_pem("client_cert", settings.client_cert),
    )
    _check_certificates(settings)  # gRPC would report them late, as an agent that cannot be reached
    return grpc.aio.secure_channel(address.dial, credentials, options=options, interceptors=interceptors)


def _check_certificates(settings: ClientSettings) -> None:
    """Raise ConfigurationError, which names the setting, for files that hold no certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's roots, which take time to load
    try:
        if settings.ca_cert:
            context.load_verify_locations(settings.ca_cert)
    except ssl.SSLError as error:
        raise ConfigurationError(f"ca_cert '{settings.ca_cert}' holds no certificates") from error
    try:
        if settings.client_cert:
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(settings.client_cert, settings.client_key, password=b"")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"client_cert '{settings.client_cert}' and client_key '{settings.client_key}' do not belong together, "
            "or are no PEM files"
        ) from error


def user_agent() -> str:
    """Return the name of this client for servers. It has no version if the package is not installed."""
    try:
        return f"a2a-grpc/{version('a2a-grpc')}"
    except PackageNotFoundError:
        return "a2a-grpc"


def _options(address: Address, settings: ClientSettings, tls: bool) -> list[tuple[str, int | str]]:
    options: list[tuple[str, int | str]] = [
        ("grpc.primary_user_agent", user_agent()),
        ("grpc.use_local_subchannel_pool", 1),  # a closed channel closes its connection; channels share nothing
        ("grpc.max_receive_message_length", for_grpc(settings.max_response_bytes)),
        ("grpc.max_send_message_length", -1),
        # Above its limit the core drops the status of a call with its code. An agent's text may be long.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # The core repeats what a GOAWAY refused, without end and without delay: gigabytes in seconds. `Calls` does it.
        ("grpc.enable_retries", 0),
        # Older cores inflate a compressed message before its size is checked, to gigabytes. `inflated` has a bound.
        ("grpc.per_message_decompression", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5000),
        # This is also the time that an attempt to connect may take, 20 seconds by default.
        ("grpc.min_reconnect_backoff_ms", max(100, for_grpc(1000 * settings.connect_timeout_s))),
    ]
    if address.is_local:
        options.append(("grpc.enable_http_proxy", 0))
    if settings.authority:
        options.append(("grpc.default_authority", settings.authority))
        if tls:
            options.append(("grpc.ssl_target_name_override", settings.authority))
    if settings.keepalive_s:
        options += [
            ("grpc.keepalive_time_ms", for_grpc(1000 * settings.keepalive_s)),
            ("grpc.keepalive_timeout_ms", 10_000),
            # The keepalive timeout alone does not notice a peer that stalls; this one does.
            ("grpc.http2.ping_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    return options


def _pem(name: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = read_regular(path, MAX_PEM_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot read {name} '{path}': {error.strerror}") from error
    if name == "client_key":
        check_plain_key(name, path, content)
    return content
