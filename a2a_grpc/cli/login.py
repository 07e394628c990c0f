"""`a2a-grpc login`, which lets a user sign in with a browser."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from a2a_grpc.cli.card import DEFAULT_CARD
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.session import Session
from a2a_grpc.cli.stored import check, keep, login_of
from a2a_grpc.client.connection import cards_for
from a2a_grpc.client.device import OFFLINE, ask_for_code, check_scopes, device_endpoints, wait_for_token
from a2a_grpc.client.endpoint import check_url
from a2a_grpc.client.issuer import Endpoints, endpoints_of_issuer
from a2a_grpc.client.security import asked_by
from a2a_grpc.client.target import CardUrl, origin_of, parse
from a2a_grpc.config import ConfigurationError

Target = Annotated[
    str | None, typer.Argument(metavar="[CARD_URL]", help="URL of the agent's card.", show_default=False)
]


async def login(
    session: Session,
    target: Target = None,
    client_id: Annotated[
        str | None, typer.Option("--client-id", metavar="ID", help="Id of this program at the authorization server.")
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option("--issuer", metavar="URL", help="Issuer to sign in at, if the card does not name one."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", metavar="SCOPE", help="Scope to ask for; can be repeated. By default: as the card says."
        ),
    ] = None,
) -> ExitCode:
    """Sign in at the authorization server that an agent's card names, with a browser on any machine.

    The other commands then send the token to agents of the same origin, unless other credentials are given. The token
    is kept in a file that only you can read, and is renewed if the server allows that.
    """
    where = DEFAULT_CARD if session.is_default else session.target
    parsed = parse(where)
    if not isinstance(parsed, CardUrl):
        raise ConfigurationError("a login is for the URL of a card; give an http(s):// URL")
    check_url(parsed.url, "the URL of the card")
    if session.as_grpcurl:
        raise ConfigurationError("a login makes no gRPC calls; leave out --as-grpcurl")
    if not client_id:
        raise ConfigurationError("give --client-id: the id that the authorization server knows this program by")
    check_scopes(scope or ())
    await check()
    endpoints, scopes = await _endpoints(session, parsed, issuer)
    if not scope and OFFLINE in endpoints.scopes:
        scopes = (*scopes, OFFLINE)
    ca_cert, show = session.settings.ca_cert, session.show
    prompt = await ask_for_code(endpoints, client_id, scope or scopes, ca_cert=ca_cert)
    show.hide([prompt.device_code])
    show.note(f"open {prompt.url} and enter the code {prompt.user_code}")
    token = await wait_for_token(endpoints, client_id, prompt, ca_cert=ca_cert)
    show.hide([token.value, token.refresh])
    origin = origin_of(where)
    file = await keep(login_of(origin, client_id, endpoints.token_url, token))
    ends = ""
    if token.expires_at is not None and not token.refresh:
        ends = f" until {datetime.fromtimestamp(token.expires_at, UTC):%Y-%m-%d %H:%M} UTC"
    show.note(f"logged in at {origin}{ends}; the token is in {file}")
    return ExitCode.OK


async def _endpoints(session: Session, where: CardUrl, issuer: str | None) -> tuple[Endpoints, tuple[str, ...]]:
    """Return the endpoints to sign in at, and the scopes that the card asks for."""
    settings = session.settings
    if issuer is not None:
        found = await endpoints_of_issuer(issuer, ca_cert=settings.ca_cert)
        if not found.device_url:
            raise ConfigurationError(f"the issuer {issuer} has no device authorization endpoint")
        return found, ()
    async with cards_for(settings, settings.timeout_s) as cards:
        card = await cards.load(where)
    named = await device_endpoints(card, str(where), where.host, ca_cert=settings.ca_cert)
    if named is None:
        raise ConfigurationError(
            f"the card at {where} names no server for a login with a browser; it asks for "
            f"{asked_by(card) or 'nothing'}; give --issuer if you know it"
        )
    return named
