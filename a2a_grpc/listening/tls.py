"""The TLS files of a server, which are read again when they change."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.pem import check_plain_key
from a2a_grpc.regular import MAX_PEM_BYTES, read_regular
from a2a_grpc.watched import Watched

logger = logging.getLogger("a2a_grpc.listening")


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of the TLS files at one moment. `client_ca` is empty without a client CA."""

    certificate: bytes
    key: bytes
    client_ca: bytes = b""


@dataclass(frozen=True, slots=True)
class Loaded:
    """TLS files that were checked, in the forms that gRPC and HTTP need."""

    contents: Contents
    plain: grpc.ServerCertificateConfiguration
    """For ports that ask for no client certificate."""
    mutual: grpc.ServerCertificateConfiguration
    """For ports that ask for one."""
    http: ssl.SSLContext
    """For HTTP ports that ask for no client certificate."""
    http_asking: ssl.SSLContext
    """For HTTP ports that ask for one if there is a client CA. They serve callers without one, too."""


class TlsFiles:
    """The certificate, the key and the client CA of a server.

    Guarantees:

    - Each connection gets the files that were last read and could be used. Open connections keep theirs.
    - A certificate is used only with its own key. If files do not fit each other, or cannot be read, the former files
      remain in use. The log says so once, unless the files are correct at the next look, since tools replace them one
      by one.
    - Looking at the files delays no call and no handshake.
    """

    def __init__(self, settings: ListenSettings) -> None:
        """Read the files of the settings. Raise ConfigurationError if they cannot be used."""
        self._settings = settings
        self._paths = [path for path in (settings.tls_cert, settings.tls_key, settings.tls_client_ca) if path]
        self._watched = Watched(*self._paths)
        self._loaded = self._load(self._read())
        self._fault = self._logged = ""

    @property
    def http(self) -> ssl.SSLContext:
        """The context for the next HTTP connection, which asks for no client certificate."""
        return self._loaded.http

    @property
    def http_asking(self) -> ssl.SSLContext:
        """The context for the next HTTP connection, which asks for a client certificate if there is a client CA.

        Callers without a certificate are served, too. A certificate of another CA ends the connection.
        """
        return self._loaded.http_asking

    def credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """Return credentials for one port that is bound once, because gRPC's credentials remember what they gave to a
        port.

        Keep them while the port is open, because gRPC does not keep the function that it calls for each connection.

        Args:
            mutual: True if callers must show a certificate of the client CA.
        """
        given = self._loaded

        def changed() -> grpc.ServerCertificateConfiguration | None:  # a thread of gRPC calls this
            nonlocal given
            latest = self._loaded
            if latest is given:
                return None
            given = latest
            return latest.mutual if mutual else latest.plain

        first = given.mutual if mutual else given.plain
        # The stubs do not know None, which means that nothing has changed.
        return grpc.dynamic_ssl_server_credentials(first, changed, mutual)  # type: ignore[arg-type]

    async def look(self) -> None:
        """Read the files, and use them if they have changed and fit each other."""
        fault = ""
        try:
            loaded = await asyncio.to_thread(self._reloaded)
        except ConfigurationError as error:
            loaded, fault = None, str(error)
        if loaded is not None:
            self._loaded = loaded
            logger.info("TLS files read again files=%s", ",".join(self._paths))
        if fault and fault == self._fault != self._logged:
            logger.warning("TLS files not read again, the former ones remain in use: error=%s", fault)
            self._logged = fault
        if not fault:
            self._logged = ""
        self._fault = fault

    def _reloaded(self) -> Loaded | None:
        """Return the files if their contents have changed, else None. Raise ConfigurationError."""
        if not self._watched.has_changed():
            return None
        contents = self._read()
        loaded = None if contents == self._loaded.contents else self._load(contents)
        self._watched.use()
        return loaded

    def _read(self) -> Contents:
        contents = Contents(
            self._bytes("tls_cert"), self._bytes("tls_key"), self._bytes("tls_client_ca") if self._asks else b""
        )
        check_plain_key("tls_key", str(self._settings.tls_key), contents.key)
        return contents

    @property
    def _asks(self) -> bool:
        return self._settings.tls_client_ca is not None

    def _bytes(self, name: str) -> bytes:
        path = Path(getattr(self._settings, name))
        try:
            return read_regular(path, MAX_PEM_BYTES)
        except OSError as error:
            raise ConfigurationError(f"{name}: {path}: {error.strerror}") from error

    def _load(self, contents: Contents) -> Loaded:
        """Return contents in the forms that are used. Raise ConfigurationError if they do not fit each other."""
        http, http_asking = self._http_context(), self._http_context()
        if self._read() != contents:  # the context was made of files, since Python makes none of bytes
            raise ConfigurationError("the TLS files changed while they were read")
        if self._asks:
            self._check_client_ca(contents.client_ca)
            http_asking.load_verify_locations(cadata=contents.client_ca.decode("ascii", "ignore"))
            http_asking.verify_mode = ssl.CERT_OPTIONAL
            http_asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # gRPC trusts intermediate CAs of the file, too
        pair = [(contents.key, contents.certificate)]
        return Loaded(
            contents,
            plain=grpc.ssl_server_certificate_configuration(pair),
            mutual=grpc.ssl_server_certificate_configuration(pair, contents.client_ca or None),
            http=http,
            http_asking=http_asking,
        )

    def _http_context(self) -> ssl.SSLContext:
        settings = self._settings
        assert settings.tls_cert is not None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password=b"")
        except OSError as error:  # ssl.SSLError is an OSError
            raise ConfigurationError(f"tls_cert, tls_key: {_what_is_wrong(settings, error)}") from error
        return context

    def _check_client_ca(self, content: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
            is_usable = bool(context.cert_store_stats()["x509"])
        except (ssl.SSLError, ValueError):  # ValueError for an empty file
            is_usable = False
        if not is_usable:
            raise ConfigurationError(f"tls_client_ca: {self._settings.tls_client_ca} must hold certificates in PEM")


def _what_is_wrong(settings: ListenSettings, error: OSError) -> str:
    """Return why a certificate and its key cannot be used. The words of OpenSSL name neither file."""
    if not isinstance(error, ssl.SSLError):
        return f"{error.filename}: {error.strerror}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{settings.tls_key} is not the key of the certificate in {settings.tls_cert}"
    return f"{settings.tls_cert} and {settings.tls_key} must hold a certificate chain and its private key in PEM"
