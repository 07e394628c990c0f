"""An issuer of tokens that a test controls: its documents over HTTP, its keys, and tokens of any kind, forged ones too.

The identity provider of provider.py is a real one. This one answers what a test wants, and also not at all.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from types import TracebackType
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from a2a_grpc.auth.discovery import WELL_KNOWN

AUDIENCE = "a2a"
KEYS = "/keys"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """Return a private key: "RS", "EC" or "ED". Keys with other numbers are other keys; each is made once."""
    match kind:
        case "RS":
            return rsa.generate_private_key(65537, 2048)
        case "EC":
            return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def jwk(private: Any, key_id: str | None, **members: Any) -> dict[str, Any]:
    """Return the public part of a key as a member of a key set."""
    public = private.public_key()
    match private:
        case rsa.RSAPrivateKey():
            parts: dict[str, Any] = RSAAlgorithm.to_jwk(public, as_dict=True)
        case ec.EllipticCurvePrivateKey():
            parts = ECAlgorithm.to_jwk(public, as_dict=True)
        case _:
            parts = OKPAlgorithm.to_jwk(public, as_dict=True)
    parts.pop("key_ops", None)
    return {**parts, **({} if key_id is None else {"kid": key_id}), **members}


def encoded(value: Any) -> str:
    """Return JSON, or bytes, in base64url."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def claims_of(issuer: str, **claims: Any) -> dict[str, Any]:
    """Return the claims of a good token, with changes. A claim that is None is left out."""
    now = int(time.time())
    good = {"iss": issuer, "aud": AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 300}
    return {name: value for name, value in {**good, **claims}.items() if value is not None}


def signed(
    claims: Mapping[str, Any], *, key: Any = None, algorithm: str = "RS256", key_id: str | None = "k1", **header: Any
) -> str:
    """Return a token with these claims."""
    key = private_key("RS") if key is None else key
    named = {} if key_id is None else {"kid": key_id}
    return jwt.encode(dict(claims), key, algorithm, headers={**named, **header})


class Issuer:
    """An issuer at a free port of this machine, with one RSA key "k1". Use it in an `async with` block.

    Attributes:
        url: The issuer as it stands in tokens.
        keys: The members of the key set.
        answers: What the server does in place of its usual answer, by path.
        reads: The number of requests, by path.
    """

    def __init__(self, *, path: str = "") -> None:
        self._path = path
        self.url = ""
        self.keys = [jwk(private_key("RS"), "k1", alg="RS256", use="sig")]
        self.answers: dict[str, Handler] = {}
        self.reads: Counter[str] = Counter()
        self.document: dict[str, Any] = {}
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def keys_url(self) -> str:
        """The URL of the key set."""
        return self.url + KEYS

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, after `stop` at the same port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}{self._path}"
        self.document = {"issuer": self.url, "jwks_uri": self.keys_url}

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def token(self, *, key: Any = None, algorithm: str = "RS256", key_id: str | None = "k1", **claims: Any) -> str:
        """Return a token of this issuer, by default a good one."""
        return signed(claims_of(self.url, **claims), key=key, algorithm=algorithm, key_id=key_id)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(self._path)
        self.reads[path] += 1
        if handler := self.answers.get(path):
            return await handler(request)
        if path == WELL_KNOWN:
            return web.json_response(self.document)
        if path == KEYS:
            return web.json_response({"keys": self.keys})
        return web.Response(status=404)


async def hang(request: web.Request) -> web.StreamResponse:
    """Do not answer."""
    await asyncio.Event().wait()
    raise AssertionError


def bearer(token: str) -> tuple[str, ...]:
    """Return the `authorization` entries of a call with one token."""
    return (f"Bearer {token}",)


def hmac_signed(issuer: Issuer, secret: bytes) -> str:
    """Return a token with a symmetric signature, which the library refuses to make with a public key."""
    said = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{encoded(claims_of(issuer.url))}"
    return f"{said}.{encoded(hmac.new(secret, said.encode(), hashlib.sha256).digest())}"


def public_pem() -> bytes:
    """Return the public key "k1" in PEM."""
    return bytes(
        private_key("RS")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def with_header(issuer: Issuer, **header: Any) -> tuple[str, ...]:
    """Return a well signed token with further header fields."""
    return bearer(signed(claims_of(issuer.url), **header))


def own_key(issuer: Issuer, **header: Any) -> tuple[str, ...]:
    """Return a token that is signed with a key of the forger, which the header offers."""
    return bearer(signed(claims_of(issuer.url), key=private_key("RS", 1), **header))


def unsigned(issuer: Issuer, algorithm: str) -> tuple[str, ...]:
    """Return a token without a signature."""
    return bearer(f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'k1'})}.{encoded(claims_of(issuer.url))}.")


def raw_claims(text: str) -> Callable[[Issuer], tuple[str, ...]]:
    """Return a well signed token whose claims are this text, in which ISS stands for the issuer."""

    def made(issuer: Issuer) -> tuple[str, ...]:
        now = int(time.time())
        body = text.replace("ISS", issuer.url).replace("NOW", str(now)).encode()
        return bearer(jwt.PyJWS().encode(body, private_key("RS"), "RS256", headers={"kid": "k1"}))

    return made


def with_unused_bits(token: str) -> str:
    """Return a token whose signature has the same bytes in other letters."""
    return token[:-1] + chr(ord(token[-1]) + 1)


REFUSED: Mapping[str, tuple[str, Callable[[Issuer], tuple[str, ...]]]] = {
    "expired": ("expired", lambda i: bearer(i.token(exp=int(time.time()) - 61))),
    "nbf ahead": ("claim nbf ahead", lambda i: bearer(i.token(nbf=int(time.time()) + 90))),
    "iat ahead": ("claim iat ahead", lambda i: bearer(i.token(iat=int(time.time()) + 90))),
    "wrong audience": ("audience", lambda i: bearer(i.token(aud="other"))),
    "audience in a text": ("audience", lambda i: bearer(i.token(aud="a2a other"))),
    "no audience": ("audience", lambda i: bearer(i.token(aud=None))),
    "audiences are numbers": ("claim aud", lambda i: bearer(i.token(aud=[1, 2]))),
    "audience is an object": ("claim aud", lambda i: bearer(i.token(aud={"a2a": 1}))),
    "no exp": ("claim exp missing", lambda i: bearer(i.token(exp=None))),
    "exp is a text": ("claim exp", lambda i: bearer(i.token(exp=str(int(time.time()) + 300)))),
    "exp is true": ("claim exp", lambda i: bearer(i.token(exp=True))),
    "exp in milliseconds": ("claim exp", lambda i: bearer(i.token(exp=int(time.time() * 1000)))),
    "exp is negative": ("claim exp", lambda i: bearer(i.token(exp=-1))),
    "exp is huge": ("claim exp", raw_claims('{"iss": "ISS", "aud": "a2a", "sub": "u", "exp": 1' + "0" * 400 + "}")),
    "exp has too many digits": (
        "malformed token",
        raw_claims('{"iss": "ISS", "aud": "a2a", "sub": "u", "exp": 1' + "0" * 5000 + "}"),
    ),
    "exp is 1e999": ("claim exp", raw_claims('{"iss": "ISS", "aud": "a2a", "sub": "u", "exp": 1e999}')),
    "exp is Infinity": ("malformed token", raw_claims('{"iss": "ISS", "aud": "a2a", "sub": "u", "exp": Infinity}')),
    "exp is NaN": ("malformed token", raw_claims('{"iss": "ISS", "aud": "a2a", "sub": "u", "exp": NaN}')),
    "no sub": ("claim sub missing", lambda i: bearer(i.token(sub=None))),
    "sub is empty": ("claim sub", lambda i: bearer(i.token(sub=""))),
    "sub is a number": ("claim sub", raw_claims('{"iss": "ISS", "aud": "a2a", "sub": 7, "exp": NOW}')),
    "sub has a NUL": ("claim sub", lambda i: bearer(i.token(sub="a\0b"))),
    "sub has 300 characters": ("claim sub", lambda i: bearer(i.token(sub="a" * 300))),
    "sub has half a character": (
        "claim sub",
        raw_claims('{"iss": "ISS", "aud": "a2a", "sub": "\\ud800", "exp": NOW}'),
    ),
    "iss is a list": ("claim iss", raw_claims('{"iss": ["ISS"], "aud": "a2a", "sub": "u", "exp": NOW}')),
    "no iss": ("claim iss", lambda i: bearer(i.token(iss=None))),
    "act is a text": ("claim act", lambda i: bearer(i.token(act="x"))),
    "scope is a number": ("claim scope", lambda i: bearer(i.token(scope=5))),
    "claims are a list": ("malformed token", raw_claims("[]")),
    "claims are deep": ("malformed token", raw_claims("[" * 2900 + "]" * 2900)),
    "alg none": ("algorithm", lambda i: unsigned(i, "none")),
    "alg None": ("algorithm", lambda i: unsigned(i, "None")),
    "no signature": ("signature", lambda i: unsigned(i, "RS256")),
    "HS256 signed with the public key": ("algorithm", lambda i: bearer(hmac_signed(i, public_pem()))),
    "HS256 signed with the JWK": ("algorithm", lambda i: bearer(hmac_signed(i, json.dumps(i.keys[0]).encode()))),
    "another algorithm than the key's": (
        "unknown key",
        lambda i: bearer(i.token(algorithm="RS512")),
    ),
    "unknown crit": ("header crit", lambda i: with_header(i, crit=["exp-of-mine"], **{"exp-of-mine": 1})),
    "crit b64": (
        "header b64",
        lambda i: bearer(
            ".".join(
                [encoded({"alg": "RS256", "kid": "k1", "b64": False}), encoded(claims_of(i.url)), encoded(b"x" * 256)]
            )
        ),
    ),
    "own jwk": ("header jwk", lambda i: own_key(i, jwk=jwk(private_key("RS", 1), "k1"))),
    "own jku": ("header jku", lambda i: own_key(i, jku="http://127.0.0.1:9/keys")),
    "own x5u": ("header x5u", lambda i: own_key(i, x5u="http://127.0.0.1:9/keys")),
    "signed by another key": ("signature", own_key),
    "kid of another issuer": (
        "unknown key",
        lambda i: own_key(i) and bearer(i.token(key=private_key("RS", 1), key_id="k-of-other")),
    ),
    "kid with a path": ("unknown key", lambda i: bearer(i.token(key_id="../../../../etc/passwd"))),
    "kid is a number": (
        "key id",
        lambda i: bearer(
            ".".join([encoded({"alg": "RS256", "kid": 1}), encoded(claims_of(i.url)), encoded(b"x" * 256)])
        ),
    ),
    "typ of a logout token": ("type", lambda i: with_header(i, typ="logout+jwt")),
    "typ is a number": ("type", lambda i: with_header(i, typ=1)),
    "9 KiB token": ("token too long", lambda i: bearer(i.token(filler="x" * 9 * 1024))),
    "two authorization entries": ("several authorization entries", lambda i: bearer(i.token()) * 2),
    "an entry of another scheme besides": (
        "several authorization entries",
        lambda i: (*bearer(i.token()), "Basic dXNlcjpwYXNz"),
    ),
    "header is no JSON": ("malformed token", lambda i: bearer("abcd.abcd.abcd")),
    "header is a number": ("malformed token", lambda i: bearer(f"{encoded(1)}.{encoded({})}.abcd")),
    "changed signature": ("signature", lambda i: bearer(i.token()[:-20] + "A" * 20)),
    "bits after the signature": ("signature", lambda i: bearer(i.token() + "A")),
    "unused bits of the signature": ("malformed token", lambda i: bearer(with_unused_bits(i.token()))),
}
"""Calls whose credentials are wrong: the reason in the log, and the entries `authorization` of the call."""

LEFT: Mapping[str, Callable[[Issuer], tuple[str, ...]]] = {
    "no entry": lambda i: (),
    "token of another issuer": lambda i: bearer(i.token(iss="https://other.example")),
    "issuer with a slash": lambda i: bearer(i.token(iss=i.url + "/")),
    "Basic": lambda i: ("Basic dXNlcjpwYXNz",),
    "token without a scheme": lambda i: (i.token(),),
    "Bearer alone": lambda i: ("Bearer",),
    "Bearer and a space": lambda i: ("Bearer ",),
    "API key": lambda i: bearer("a2a_" + "0" * 64),
    "five parts": lambda i: bearer(f"{i.token()}.a.b"),
    "other letters": lambda i: bearer(i.token() + "+"),
    "two tokens": lambda i: bearer(f"{i.token()} {i.token()}"),
}
"""Calls that show nothing of the issuer's, which the authenticator leaves to the next one."""
