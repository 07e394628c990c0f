"""The endpoints of an authorization server, from its metadata (RFC 8414, OpenID Connect Discovery)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from a2a_grpc.client.credentials import Place
from a2a_grpc.client.endpoint import check_url, get_json, host_of
from a2a_grpc.client.target import shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import SecurityScheme

OPENID_PATH = "/.well-known/openid-configuration"
OAUTH_PATH = "/.well-known/oauth-authorization-server"

WHAT = "the metadata of the authorization server"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints of an authorization server.

    Attributes:
        token_url: The token endpoint.
        device_url: The device authorization endpoint; empty if there is none.
        methods: The ways in which a client may show its secret to the token endpoint; empty if that is not known.
        scopes: The scopes that a client may ask for; empty if that is not known.
    """

    token_url: str
    device_url: str = ""
    methods: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


async def endpoints_of_issuer(issuer: str, *, ca_cert: str | None = None) -> Endpoints:
    """Return the endpoints of an issuer. Raise ConfigurationError if it has no metadata that names it."""
    check_url(issuer, "the issuer")
    parts = urlsplit(issuer)
    openid = parts._replace(path=parts.path.rstrip("/") + OPENID_PATH).geturl()
    oauth = parts._replace(path=OAUTH_PATH + parts.path.rstrip("/")).geturl()
    try:
        metadata = await get_json(openid, WHAT, ca_cert=ca_cert)
    except ConfigurationError as error:
        try:
            metadata = await get_json(oauth, WHAT, ca_cert=ca_cert)
        except ConfigurationError:
            raise error from None
    said = metadata.get("issuer")
    if not isinstance(said, str) or said.rstrip("/") != issuer.rstrip("/"):  # RFC 8414 §3.3
        raise ConfigurationError(
            f"{WHAT} at {shown(issuer)} is for the issuer '{shown(str(said))}'; give the issuer as the server names it"
        )
    return _endpoints(metadata, shown(issuer))


async def endpoints_of_scheme(place: Place, flow: str, *, ca_cert: str | None = None) -> Endpoints:
    """Return the endpoints that a security scheme of a card names, for "client_credentials" or "device_code".

    Raise ConfigurationError if there are none, or if they are on another host than the card and this is not allowed.
    """
    scheme = place.scheme
    url = metadata_url_of(scheme)
    found: Endpoints | None = None
    flows = scheme.oauth2_security_scheme.flows
    if scheme.HasField("oauth2_security_scheme") and flows.WhichOneof("flow") == flow:
        chosen: Any = getattr(flows, flow)
        device_url = getattr(chosen, "device_authorization_url", "").strip()
        found = Endpoints(chosen.token_url.strip(), device_url, scopes=tuple(chosen.scopes))
    elif url:
        check_place(url, place)
        found = _endpoints(await get_json(url, WHAT, ca_cert=ca_cert), shown(url))
    if found is None or not found.token_url:
        raise ConfigurationError(
            f"the scheme '{place.name}' of the card at {place.source} names no token endpoint for "
            f"{flow.replace('_', ' ')}; give the issuer or the token endpoint (issuer=, token_url=; --oauth2-issuer)"
        )
    check_place(found.token_url, place)
    return found


def metadata_url_of(scheme: SecurityScheme) -> str:
    """Return the URL of the authorization server's metadata that a scheme names; "" if there is none."""
    if scheme.HasField("open_id_connect_security_scheme"):
        return scheme.open_id_connect_security_scheme.open_id_connect_url.strip()
    return scheme.oauth2_security_scheme.oauth2_metadata_url.strip()


def check_place(url: str, place: Place) -> None:
    """Raise ConfigurationError for a URL on another host than the card's, unless the card may name other hosts.

    The author of the card decides the URL, and a client secret is sent there.
    """
    host = host_of(url)
    if place.host and not place.any_host and host != place.host.lower():
        raise ConfigurationError(
            f"the card at {place.source} sends credentials to another host, {host or shown(url)}; if you trust it, "
            "name it as issuer or token endpoint (issuer=, token_url=; --oauth2-issuer), or allow any_card_host "
            "(--any-card-host)"
        )


def _endpoints(metadata: dict[str, Any], source: str) -> Endpoints:
    token_url, device_url = metadata.get("token_endpoint"), metadata.get("device_authorization_endpoint")
    if not isinstance(token_url, str) or not token_url:
        raise ConfigurationError(f"{WHAT} at {source} names no token endpoint")
    return Endpoints(
        token_url,
        device_url if isinstance(device_url, str) else "",
        _texts(metadata.get("token_endpoint_auth_methods_supported")),
        _texts(metadata.get("scopes_supported")),
    )


def _texts(items: Any) -> tuple[str, ...]:
    return tuple(item for item in items if isinstance(item, str)) if isinstance(items, list) else ()
