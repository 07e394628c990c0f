"""Authentication: from the credentials of a call to a principal.

protocol      the seam between a call and its caller
callers       asking the authenticators
rates         limits of callers
audit         the audit log
settings      the settings of authentication
described     what the card says of credentials
file          the file of all accepted credentials
tables        reading TOML files
certificates  callers with client certificates

API keys:

keys          callers with API keys
keyfile       the file of API keys
keyedits      changes of this file

Tokens:

jwt           callers with tokens
tokens        the form of a token
claims        the caller that a token names
jwks          the keys of an issuer
keyset        a set of keys
discovery     where the keys of an issuer are
"""

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
