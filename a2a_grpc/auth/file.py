"""The authenticators that settings and a file of them name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from a2a_grpc.auth.callers import anonymous
from a2a_grpc.auth.certificates import ClientCertificates
from a2a_grpc.auth.jwt import Jwt
from a2a_grpc.auth.keys import HEADER, ApiKeys
from a2a_grpc.auth.protocol import Authenticator
from a2a_grpc.auth.settings import AuthSettings
from a2a_grpc.auth.tables import Table, parse, read_text, refuse_unknown_tables, state_of, warn_if_writable
from a2a_grpc.config import ConfigurationError

T = TypeVar("T")

KEYS = ("file", "header")
JWT = (
    *("issuer", "audience", "audiences", "algorithms", "leeway_s", "required", "jwks_url", "jwks_file"),
    *("tenant_claim", "scopes_claim", "owner_claim"),
)
CERTIFICATES = ("client_ca", "tenants", "scopes")
ANONYMOUS = ("allow",)
OF_SENTINELS = ("attach", "call")
"""The tables that only the file of a sentinel has. A server that ignored them would allow more than the file says."""

_warn_once = lru_cache(maxsize=64)(warn_if_writable)
"""A server reads its settings twice, so that wrong ones are reported before anything is opened."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The credentials that a server accepts.

    Attributes:
        authenticators: The authenticators, in the order in which they are asked. Client certificates come after keys
            and tokens, since a token says more of a caller than the connection that carried it. `anonymous` is the last
            one, if calls without credentials are accepted.
        client_ca: The file with the CAs of client certificates; None if certificates are not asked for.
    """

    authenticators: tuple[Authenticator, ...] = ()
    client_ca: str | None = None


def accepted(settings: AuthSettings, *, client_ca: str | None = None, more: Sequence[str] = ()) -> Accepted:
    """Return what the settings of a server accept: those of the file `auth`, and those of the short forms.

    Args:
        settings: The settings.
        client_ca: The file with the CAs of client certificates, if the server has the setting `tls_client_ca`.
        more: The names of further tables that the file may have.

    Raises:
        ConfigurationError: The file cannot be read or is wrong, the file and a short form do not fit each other, or a
            package is missing.
    """
    file = _File(Path(settings.auth), more) if settings.auth else None
    keys = _one("--api-keys", settings.api_keys, file, "[keys]", file.keys_file if file else None)
    authority = _one("--tls-client-ca", client_ca, file, "[certificates]", file.client_ca if file else None)
    authenticators: list[Authenticator] = []
    if keys:
        authenticators.append(file.keys() if file and file.keys_file else ApiKeys(keys))
    issuers: dict[str, str] = {}
    if settings.jwt_issuer and settings.jwt_audience:
        issuers[settings.jwt_issuer] = "--jwt-issuer"
        authenticators.append(Jwt(settings.jwt_issuer, [settings.jwt_audience]))
    if file:
        authenticators += file.tokens(issuers)
    if authority:
        authenticators.append(file.certificates() if file else ClientCertificates())
    elif file and file.names_certificates:
        raise ConfigurationError(
            f"{file.path}: [certificates]: the key 'client_ca' is missing; it names the file with the CAs of client "
            "certificates, as --tls-client-ca does"
        )
    if file and file.allow_anonymous:
        authenticators.append(anonymous)
    if file and not authenticators:
        raise ConfigurationError(
            f"{file.path}: the file accepts no credentials; it needs [keys], [[jwt]] or [certificates], or [anonymous] "
            "with allow = true"
        )
    return Accepted(tuple(authenticators), authority)


def tables_of(path: Path, more: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the further tables of a file of accepted credentials, and then all others, each by name.

    Args:
        path: The file.
        more: The names of the further tables.

    Raises:
        ConfigurationError: The file cannot be read, or is wrong.
    """
    file = _File(path, more)
    return file.more, file.others


def _one(option: str, given: str | None, file: "_File | None", table: str, named: str | None) -> str | None:
    """Return the path that an option or a table of the file names. Raise ConfigurationError if they name two."""
    if given and named and file and Path(given).resolve() != Path(named).resolve():
        raise ConfigurationError(
            f"{file.path}: {table} names '{named}', and {option} is '{given}'; give only one of them"
        )
    return given or named


class _File:
    """The file of `--auth`. Paths in it are relative to its folder."""

    def __init__(self, path: Path, more: Sequence[str]) -> None:
        self.path = path
        tables = parse(path, read_text(path))
        _warn_once(path, state_of(path).st_mode)
        for name in OF_SENTINELS:
            if name in tables and name not in more:
                raise ConfigurationError(
                    f"{path}: [[{name}]] is for `a2a-grpc sentinel`, not for the server of an agent"
                )
        refuse_unknown_tables(path, tables, ("keys", "jwt", "certificates", "anonymous", *more))
        self.more = {name: tables[name] for name in more if name in tables}
        self.others = {name: table for name, table in tables.items() if name not in more}
        self._keys = Table(path, "[keys]", tables["keys"], KEYS) if "keys" in tables else None
        self._certificates = (
            Table(path, "[certificates]", tables["certificates"], CERTIFICATES) if "certificates" in tables else None
        )
        anonymous = Table(path, "[anonymous]", tables.get("anonymous", {}), ANONYMOUS)
        self._tokens = self._token_tables(tables)
        self.allow_anonymous = bool(anonymous.flag("allow"))
        self.keys_file = self._path(self._keys.needed_text("file")) if self._keys else None
        self.client_ca = self._path(self._certificates.text("client_ca")) if self._certificates else None
        self.names_certificates = self._certificates is not None

    def _token_tables(self, tables: Mapping[str, Any]) -> list[Table]:
        entries = tables.get("jwt", [])
        if not isinstance(entries, list):
            raise ConfigurationError(f"{self.path}: [jwt] must be written [[jwt]], since there may be several issuers")
        return [Table(self.path, f"[[jwt]] {number}", entry, JWT) for number, entry in enumerate(entries, 1)]

    def keys(self) -> Authenticator:
        """Return the authenticator of `[keys]`."""
        assert self._keys is not None
        assert self.keys_file is not None
        file, header = self.keys_file, self._keys.text("header") or HEADER
        return _made(self._keys, lambda: ApiKeys(file, header))

    def certificates(self) -> Authenticator:
        """Return the authenticator of client certificates, with the tenants and scopes of `[certificates]`."""
        table = self._certificates
        if table is None:
            return ClientCertificates()
        tenants, scopes = table.texts_by_name("tenants"), table.texts_by_name("scopes")
        return _made(table, lambda: ClientCertificates(tenants=tenants, scopes=scopes))

    def tokens(self, issuers: dict[str, str]) -> list[Authenticator]:
        """Return an authenticator for each `[[jwt]]`.

        Args:
            issuers: The issuers that are known already, with the place that names them. Those of the file are added.
        """
        made = []
        for table in self._tokens:
            issuer = table.needed_text("issuer")
            if issuer in issuers:
                raise table.wrong(
                    f"issuer is '{issuer}', which {issuers[issuer]} names as well; list all its audiences in one place"
                )
            issuers[issuer] = table.name
            made.append(self._token(table, issuer))
        return made

    def _token(self, table: Table, issuer: str) -> Authenticator:
        if ("audience" in table) == ("audiences" in table):
            both = "audience" in table
            raise table.wrong("give only one of audience and audiences" if both else "the key 'audiences' is missing")
        if "jwks_url" in table and "jwks_file" in table:
            raise table.wrong("give only one of jwks_url and jwks_file; without them the keys are found by discovery")
        audiences = table.texts("audiences") or (table.needed_text("audience"),)
        options: dict[str, Any] = {
            "algorithms": table.texts("algorithms"),
            "required": table.texts("required"),
            "leeway_s": table.number("leeway_s"),
            "jwks_file": self._path(table.text("jwks_file")),
            **{name: table.text(name) for name in ("jwks_url", "tenant_claim", "scopes_claim", "owner_claim")},
        }
        given = {name: value for name, value in options.items() if value is not None}
        return _made(table, lambda: Jwt(issuer, audiences, **given))

    def _path(self, name: str | None) -> str | None:
        return None if name is None else str(self.path.parent / name)


def _made(table: Table, make: Callable[[], T]) -> T:
    """Return what a function makes. A ConfigurationError gets the place in the file."""
    try:
        return make()
    except ConfigurationError as error:
        raise table.wrong(str(error)) from error
