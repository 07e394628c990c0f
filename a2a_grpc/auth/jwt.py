"""Callers with tokens of an identity provider (JSON web tokens)."""

import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from a2a_grpc.auth import keyset, tokens
from a2a_grpc.auth.claims import Rules, principal_of
from a2a_grpc.auth.discovery import Discovery, KeyFile, KeyUrl, Source, url_problem
from a2a_grpc.auth.jwks import KeyCache
from a2a_grpc.auth.keyset import ALGORITHMS
from a2a_grpc.auth.protocol import CallCredentials, Refused
from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url
from a2a_grpc.principal import Principal
from a2a_grpc.wire import HTTPAuthSecurityScheme, OpenIdConnectSecurityScheme, SecurityScheme

REMEMBERED = 4096
"""The number of verified tokens that are remembered."""
REMEMBERED_S = 60.0
"""Seconds for which a verified token is remembered. So long a token may be used after its key was removed."""

_BEARER = "bearer "


class Jwt:
    """An authenticator of callers with tokens (JWT) of one identity provider.

    A caller sends its token as `authorization: Bearer TOKEN`. Tokens of other issuers, and bearer values that are not
    JSON web tokens, are left to the next authenticator.

    Guarantees:

    - A token is accepted only if a key of the issuer verifies its signature. No key is taken from the token itself.
    - A verified token is not verified again for a minute. No token is accepted later than `leeway_s` after its end.
    - If the issuer's keys cannot be read, only the callers of this issuer wait.

    Args:
        issuer: The issuer, exactly as tokens name it (`iss`). Without `jwks_url` and `jwks_file` it is the URL at which
            OpenID Connect Discovery begins.
        audiences: The audiences of this agent. A token must name one of them (`aud`).
        algorithms: The algorithms in which a token may be signed.
        leeway_s: Seconds by which the clock of the issuer may differ.
        required: The claims that a token must have; "sub" is one of them.
        jwks_url: The URL of the issuer's key set, for an issuer without discovery.
        jwks_file: A file with the issuer's key set. It is read again when it changes.
        tenant_claim: The claim that names the caller's tenants: a text, or a list of texts. A token without this claim
            is for requests without a tenant. By default tokens are for all tenants.
        scopes_claim: The claim that names the caller's scopes: a text with spaces, or a list. Without this claim, `scp`
            is read.
        owner_claim: The claim that names the group to which the caller's tasks belong. A token without this claim is
            for the caller's own tasks.
        clock: The Unix time in seconds.

    Raises:
        ConfigurationError: An argument has a value that is not possible, or a package is missing.
    """

    def __init__(
        self,
        issuer: str,
        audiences: Sequence[str],
        *,
        algorithms: Sequence[str] = ALGORITHMS,
        leeway_s: float = 60.0,
        required: Sequence[str] = ("exp", "sub"),
        jwks_url: str | None = None,
        jwks_file: str | Path | None = None,
        tenant_claim: str | None = None,
        scopes_claim: str = "scope",
        owner_claim: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        keyset.check_installed()
        from jwt import PyJWS

        _check_texts("audiences", audiences)
        _check_texts("required", required)
        _check_algorithms(algorithms)
        if "sub" not in required:
            raise ConfigurationError("required has no 'sub'; without a subject there is no caller")
        if not math.isfinite(leeway_s) or leeway_s < 0:
            raise ConfigurationError(f"leeway_s is {leeway_s}; it must be 0 or more")
        self.issuer = issuer
        self._source = _source(issuer, jwks_url, jwks_file)
        self._keys = KeyCache(issuer, self._source)
        self._algorithms = frozenset(algorithms)
        self._signatures = PyJWS(list(algorithms))
        self._rules = Rules(
            issuer=issuer,
            audiences=frozenset(audiences),
            leeway_s=leeway_s,
            required=tuple(required),
            tenant_claim=tenant_claim,
            scopes_claim=scopes_claim,
            owner_claim=owner_claim,
        )
        self._clock = clock
        self._verified: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def open(self) -> None:
        """Read the keys of the issuer. A provider that does not answer is no error: its keys are read later.

        Raises:
            ConfigurationError: The file cannot be used, or the issuer's document names another issuer.
        """
        await self._keys.open()

    async def close(self) -> None:
        """Stop reading keys, and forget the verified tokens."""
        await self._keys.close()
        self._verified.clear()

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        """Return the caller that a token names, or None if the call shows no token of this issuer.

        Args:
            credentials: The metadata, the certificate and the address of the call.

        Raises:
            Refused: The token is not valid.
            UnavailableError: The keys of the issuer cannot be read now.
        """
        shown = credentials.metadata.get("authorization")
        if not shown:
            return None
        if len(shown) > 1:
            raise Refused("several authorization entries")
        value = shown[0]
        if not isinstance(value, str):
            return None
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None and self._clock() < known[0]:
            self._verified.move_to_end(digest)
            return known[1]
        if value[: len(_BEARER)].lower() != _BEARER:
            return None
        token = value[len(_BEARER) :].strip(" ")
        if len(token) > tokens.MAX_TOKEN_CHARS:
            raise Refused("token too long")
        principal = await self._principal(token)
        if principal is not None:
            self._remember(digest, principal)
        return principal

    def schemes(self) -> Mapping[str, SecurityScheme]:
        """Return the scheme for the agent card. Its name is made of the issuer, since an agent may have several."""
        name = "jwt_" + re.sub(r"[^A-Za-z0-9.-]+", "_", re.sub(r"^https?://", "", self.issuer)).strip("_")
        audiences = ", ".join(sorted(self._rules.audiences))
        said = f"A token (JWT) of {self.issuer} for the audience {audiences}."
        if isinstance(self._source, Discovery):
            openid = OpenIdConnectSecurityScheme(description=said, open_id_connect_url=self._source.url)
            return {name: SecurityScheme(open_id_connect_security_scheme=openid)}
        bearer = HTTPAuthSecurityScheme(description=said, scheme="Bearer", bearer_format="JWT")
        return {name: SecurityScheme(http_auth_security_scheme=bearer)}

    def challenge(self) -> str:
        """Return "Bearer", the scheme with which `authorization` carries a token."""
        return "Bearer"

    async def _principal(self, token: str) -> Principal | None:
        """Return the caller that a token names, or None if the text is not a token of this issuer."""
        if not tokens.is_jwt(token):
            return None
        header, claims = tokens.read(token)
        issuer = claims.get("iss")
        if not isinstance(issuer, str):
            raise Refused("claim iss")
        if issuer != self.issuer:
            return None
        algorithm, key_id = tokens.check_header(header, self._algorithms)
        key = await self._keys.find(key_id, algorithm)
        self._check_signature(token, key.public, algorithm)
        return principal_of(claims, self._rules, self._clock())

    def _check_signature(self, token: str, key: Any, algorithm: str) -> None:
        """Raise Refused unless a key verifies the signature of a token."""
        from jwt import InvalidSignatureError, PyJWTError

        try:
            self._signatures.decode_complete(token, key, [algorithm])
        except InvalidSignatureError:
            raise Refused("signature") from None
        except PyJWTError:
            raise Refused("malformed token") from None

    def _remember(self, digest: bytes, principal: Principal) -> None:
        """Remember a verified token until its end, a minute at most. The oldest ones make place."""
        end = math.inf if principal.expires_at is None else principal.expires_at
        self._verified[digest] = (min(end, self._clock() + REMEMBERED_S), principal)
        self._verified.move_to_end(digest)
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)


def _source(issuer: str, jwks_url: str | None, jwks_file: str | Path | None) -> Source:
    """Return the place that has the keys of an issuer."""
    if not isinstance(issuer, str) or not issuer:
        raise ConfigurationError("issuer is empty")
    if jwks_url is not None and jwks_file is not None:
        raise ConfigurationError("jwks_url and jwks_file are both given; give one")
    if jwks_file is not None:
        return KeyFile(Path(jwks_file))
    name, url = ("issuer", issuer) if jwks_url is None else ("jwks_url", jwks_url)
    problem = url_problem(url) or ("has a query" if jwks_url is None and "?" in url else "")
    if problem:
        raise ConfigurationError(f"{name} '{mask_url(url)}' {problem}")
    return Discovery(issuer) if jwks_url is None else KeyUrl(jwks_url)


def _check_algorithms(algorithms: Sequence[str]) -> None:
    _check_texts("algorithms", algorithms)
    for name in algorithms:
        if name not in ALGORITHMS:
            raise ConfigurationError(
                f"algorithms has '{name}'; it must be among {', '.join(ALGORITHMS)}, since the key of another one is "
                "either known to each verifier or not there"
            )


def _check_texts(name: str, texts: Sequence[str]) -> None:
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise ConfigurationError(f"{name} is {texts!r}; it must be a list of texts, for example ['a2a']")
