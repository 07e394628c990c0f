"""Authentication: from the credentials of a call to a principal."""

from a2a_grpc.auth.callers import anonymous
from a2a_grpc.auth.certificates import ClientCertificates
from a2a_grpc.auth.jwt import Jwt
from a2a_grpc.auth.keys import ApiKeys
from a2a_grpc.auth.protocol import (
    Authenticator,
    CallCredentials,
    Certificate,
    Described,
    Opened,
    Refused,
)
from a2a_grpc.auth.settings import AuthSettings

__all__ = [
    "ApiKeys",
    "AuthSettings",
    "Authenticator",
    "CallCredentials",
    "Certificate",
    "ClientCertificates",
    "Described",
    "Jwt",
    "Opened",
    "Refused",
    "anonymous",
]
