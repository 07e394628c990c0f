"""What a card asks of its callers, and which of the given credentials meet it (spec §4.5, §7.3)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from a2a_grpc.client.credentials import Credentials, Place, Provider
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.wire import AgentCard, SecurityRequirement, SecurityScheme

Given: TypeAlias = Credentials | Sequence[Credentials] | Mapping[str, Credentials]
"""One `Credentials`, several of them, or a mapping from the names of security schemes to `Credentials`."""

MAX_NAMED = 8
"""The largest number of requirements, or of schemes of one requirement, in a message."""
MAX_NAME_CHARS = 64
"""The largest length of a name from a card in a message."""


def all_of(given: Given | None) -> list[Credentials]:
    """Return the given credentials as a list."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        return list(given.values())
    return [given] if callable(given) else list(given)


def chosen(
    card: AgentCard, given: Given, *, source: str, host: str, any_host: bool, has_certificate: bool
) -> list[Credentials]:
    """Return the credentials for the first requirement of a card that they can meet, with what the card says of them.

    Return all of them if the card has no requirements, or allows calls without credentials. Raise ConfigurationError,
    which names the missing schemes, if they meet no requirement.

    `source` is the card for errors, `host` its host. `any_host` is True if the card may name other hosts.
    `has_certificate` is True if the connection shows a client certificate.
    """
    missing: list[str] = []
    for requirement in card.security_requirements:
        found: list[Credentials] = []
        left = list(all_of(given))
        lacking = ""
        for name in sorted(requirement.schemes):
            scheme = card.security_schemes[name] if name in card.security_schemes else SecurityScheme()
            if scheme.HasField("mtls_security_scheme") and has_certificate:
                continue
            one = given.get(name) if isinstance(given, Mapping) else _first_that_meets(scheme, left)
            if one is None:
                lacking = name
                break
            left = [other for other in left if other is not one]
            scopes = tuple(requirement.schemes[name].list)
            place = Place(scheme, name, scopes, source, host, any_host)
            found.append(one.bound(place) if isinstance(one, Provider) else one)
        if lacking:
            missing.append(lacking)
        elif requirement.schemes:
            return found
    if len(missing) < len(card.security_requirements) or not missing:
        return all_of(given)
    raise ConfigurationError(
        f"the given credentials do not meet what the card at {source} asks for: {asked_by(card)}; missing: "
        f"{_joined((_quoted(name) for name in dict.fromkeys(missing)), ' or ')}"
    )


def _first_that_meets(scheme: SecurityScheme, left: Iterable[Credentials]) -> Credentials | None:
    """Return the first credentials that can meet a scheme; a function that does not say what it meets comes last."""
    if scheme.HasField("mtls_security_scheme"):
        return None
    known = (one for one in left if isinstance(one, Provider) and one.meets(scheme))
    unknown = (one for one in left if not isinstance(one, Provider))
    return next(known, None) or next(unknown, None)


def asked_by(card: AgentCard) -> str:
    """Return what a card asks for, in words; "" if it asks for nothing."""
    return _joined((_requirement(requirement, card) for requirement in card.security_requirements), ", or ")


def _requirement(requirement: SecurityRequirement, card: AgentCard) -> str:
    if not requirement.schemes:
        return "nothing"
    return _joined(
        (f"{_quoted(name)} ({_scheme(name, requirement, card)})" for name in sorted(requirement.schemes)),
        " together with ",
    )


def _scheme(name: str, requirement: SecurityRequirement, card: AgentCard) -> str:
    if name not in card.security_schemes:
        return "which the card does not describe"
    scheme = card.security_schemes[name]
    listed = [_plain(scope) for scope in requirement.schemes[name].list]
    scopes = f", scopes {' '.join(listed[:MAX_NAMED])}" if listed else ""
    match scheme.WhichOneof("scheme"):
        case "api_key_security_scheme":
            key = scheme.api_key_security_scheme
            return f"API key {_quoted(key.name)} in {_plain(key.location) or 'no place'}"
        case "http_auth_security_scheme":
            return f"HTTP {_plain(scheme.http_auth_security_scheme.scheme)}"
        case "oauth2_security_scheme":
            flow = scheme.oauth2_security_scheme.flows.WhichOneof("flow") or "unknown flow"
            return f"OAuth 2.0, {flow.replace('_', ' ')}{scopes}"
        case "open_id_connect_security_scheme":
            return f"OpenID Connect{scopes}"
        case "mtls_security_scheme":
            return "client certificate"
    return "of a kind that this client does not know"


def _joined(items: Iterable[str], between: str) -> str:
    listed = list(items)
    return between.join(listed[:MAX_NAMED]) + ("…" if len(listed) > MAX_NAMED else "")


def _quoted(name: str) -> str:
    return f"'{_plain(name)}'"


def _plain(text: str) -> str:
    return one_line(text[:MAX_NAME_CHARS])
