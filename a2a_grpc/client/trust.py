"""Make the TLS contexts of a client for connections that do not use gRPC, such as those for agent cards."""

import ssl

from a2a_grpc.config import ConfigurationError
from a2a_grpc.regular import MAX_PEM_BYTES, check_regular


def trusting(
    ca_cert: str | None, client_cert: str | None = None, client_key: str | None = None, *, also_system: bool = False
) -> ssl.SSLContext:
    """Return a TLS context with these root certificates, or those of the system, and with a certificate of the client.

    With `also_system` those of the system are trusted in any case. Raise ConfigurationError if a file cannot be read.
    """
    try:
        if ca_cert:
            check_regular(ca_cert, MAX_PEM_BYTES)  # OpenSSL would read a pipe or a device without end
        context = ssl.create_default_context(cafile=None if also_system else ca_cert)
        if also_system and ca_cert:
            context.load_verify_locations(ca_cert)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"cannot read ca_cert '{ca_cert}': {error.strerror or error}") from error
    if client_cert:
        try:
            for file in filter(None, (client_cert, client_key)):
                check_regular(file, MAX_PEM_BYTES)
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(client_cert, client_key, password=b"")
        except OSError as error:
            why = (
                "they do not belong together, or are no PEM files"
                if isinstance(error, ssl.SSLError)
                else error.strerror
            )
            raise ConfigurationError(
                f"cannot read client_cert '{client_cert}' and client_key '{client_key}': {why}"
            ) from error
    return context
