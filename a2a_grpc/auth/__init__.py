"""Who calls: from the credentials of a call to a principal."""

from a2a_grpc.auth.protocol import (
    Authenticator,
    CallCredentials,
    Certificate,
    Described,
    Opened,
    Refused,
)

__all__ = ["Authenticator", "CallCredentials", "Certificate", "Described", "Opened", "Refused"]
