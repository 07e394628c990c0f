"""Bearer tokens by the client credentials grant of OAuth 2.0 (RFC 6749 §4.4)."""

from collections.abc import Sequence
from pathlib import Path

from a2a_grpc.arguments import checking
from a2a_grpc.client.credentials import Credentials, Place, Provider, secret_of
from a2a_grpc.client.endpoint import RefusedRequest, check_url, post_for_token
from a2a_grpc.client.issuer import Endpoints, endpoints_of_issuer, endpoints_of_scheme, metadata_url_of
from a2a_grpc.client.tokens import RenewedBearer, Token
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import SecurityScheme

BASIC, POST = "client_secret_basic", "client_secret_post"


@checking
def oauth2(
    client_id: str,
    client_secret: str | Path,
    token_url: str | None = None,
    scopes: Sequence[str] = (),
    audience: str | None = None,
    issuer: str | None = None,
    ca_cert: str | None = None,
) -> Credentials:
    """Return credentials that send a bearer token from an authorization server (client credentials of OAuth 2.0).

    The client asks for a token when the first call needs one, 60 seconds before the end of the token, and if the agent
    refuses the token. Calls that need a token at the same time wait for one request.

    Without `token_url` and `issuer`, the token endpoint is the one that the agent's card names. It must be on the host
    of the card, unless `any_card_host` is set, since the secret is sent there.

    Args:
        client_id: The id of this program at the authorization server.
        client_secret: The secret, or the `Path` of a file that holds it. The file is read for each request.
        token_url: The token endpoint.
        scopes: The scopes to ask for; by default those that the card's requirement lists.
        audience: The audience to ask for, at servers that have this parameter.
        issuer: The issuer whose metadata names the token endpoint, if `token_url` is not given.
        ca_cert: PEM file with root certificates to trust at the authorization server, besides those of the system.

    Raises:
        ConfigurationError: A URL does not use https, and is not on this machine. The calls of the client raise this if
            no token endpoint is found.
        UnauthenticatedError: The authorization server refuses the request. The calls of the client raise this.
        CredentialsUnavailableError: The authorization server does not answer. The calls of the client raise this.
    """
    for url, what in ((token_url, "token_url"), (issuer, "issuer")):
        if url is not None:
            check_url(url, what)
    return ClientCredentials(client_id, client_secret, token_url, tuple(scopes), audience, issuer, ca_cert)


class ClientCredentials(RenewedBearer):
    """Tokens for a program, by its own id and secret."""

    def __init__(
        self,
        client_id: str,
        client_secret: str | Path,
        token_url: str | None,
        scopes: tuple[str, ...],
        audience: str | None,
        issuer: str | None,
        ca_cert: str | None,
        place: Place | None = None,
    ) -> None:
        super().__init__()
        self._id = client_id
        self._secret = client_secret
        self._token_url = token_url
        self._scopes = scopes
        self._audience = audience
        self._issuer = issuer
        self._ca_cert = ca_cert
        self._place = place
        self._method = ""
        """The way of showing the secret that the token endpoint has taken; empty before."""
        self._bound: dict[tuple[object, ...], ClientCredentials] = {}

    def meets(self, scheme: SecurityScheme) -> bool:
        """Return True for a scheme of bearer tokens, if a token endpoint is known or the scheme may name one."""
        if self._token_url or self._issuer:
            return super().meets(scheme)
        flows = scheme.oauth2_security_scheme.flows
        return bool(metadata_url_of(scheme)) or flows.WhichOneof("flow") == "client_credentials"

    def bound(self, place: Place) -> Provider:
        """Return the credentials with the scopes and the token endpoint of a scheme, unless they were given.

        Clients whose cards say the same share one token.
        """
        scopes = self._scopes or place.scopes
        is_given = bool(self._token_url or self._issuer)
        key = (scopes, *(() if is_given else (place.scheme.SerializeToString(), place.host, place.any_host)))
        if key not in self._bound:
            self._bound[key] = ClientCredentials(
                self._id, self._secret, self._token_url, scopes, self._audience, self._issuer, self._ca_cert, place
            )
        return self._bound[key]

    async def _obtain(self, _: Token | None) -> Token:
        endpoints = await self._endpoints()
        form = {"grant_type": "client_credentials"}
        if self._scopes:
            form["scope"] = " ".join(self._scopes)
        if self._audience is not None:
            form["audience"] = self._audience
        secret = await secret_of(self._secret)
        offered = [method for method in (BASIC, POST) if method in endpoints.methods] or [BASIC, POST]
        methods = [self._method] if self._method in offered else offered
        for method in methods:
            is_basic = method == BASIC
            body = form if is_basic else {**form, "client_id": self._id, "client_secret": secret}
            try:
                token = await post_for_token(
                    endpoints.token_url, body, basic=(self._id, secret) if is_basic else None, ca_cert=self._ca_cert
                )
            except RefusedRequest as error:
                if error.error != "invalid_client" or method == methods[-1]:
                    raise
                continue  # many servers know one of the two ways, and their metadata does not say which
            self._method = method
            return token
        raise AssertionError("there is at least one way to show the secret")

    async def _endpoints(self) -> Endpoints:
        if self._token_url:
            return Endpoints(self._token_url)
        if self._issuer:
            return await endpoints_of_issuer(self._issuer, ca_cert=self._ca_cert)
        if self._place is None:
            raise ConfigurationError(
                "no token endpoint is known, and there is no card that names one; give token_url or issuer "
                "(--oauth2-token-url, --oauth2-issuer)"
            )
        return await endpoints_of_scheme(self._place, "client_credentials", ca_cert=self._ca_cert)
