"""`a2a-grpc card`, which shows an agent card."""

from typing import Annotated

import typer

from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.session import Session
from a2a_grpc.client.card import problems_of
from a2a_grpc.client.connection import cards_for
from a2a_grpc.client.target import Address, CardUrl, parse
from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import AgentCard, GetExtendedAgentCardRequest

DEFAULT_CARD = "http://127.0.0.1:8080"
"""The URL of the card of `a2a-grpc serve`."""

Target = Annotated[
    str | None, typer.Argument(metavar="[TARGET]", help="URL (http or https) or file of the card.", show_default=False)
]


async def card(
    session: Session,
    target: Target = None,
    validate: Annotated[bool, typer.Option("--validate", help="Check the card; exit 6 if it is not valid.")] = False,
    extended: Annotated[bool, typer.Option("--extended", help="Fetch the extended card over gRPC.")] = False,
) -> ExitCode:
    """Show an agent's card, from its well-known URL, from a file, or with --extended over gRPC."""
    if session.as_grpcurl and not extended:
        raise ConfigurationError("the public card is fetched over HTTP; --as-grpcurl goes with --extended")
    if extended:
        return await _extended(session)
    where = DEFAULT_CARD if session.is_default else session.target
    parsed = parse(where)
    if isinstance(parsed, Address):
        raise ConfigurationError(
            f"'{mask_url(where)}' is a gRPC address, and gRPC has no method for the card; "
            "give its http(s):// URL, or --extended"
        )
    settings = session.settings
    async with cards_for(settings, settings.timeout_s) as cards:
        found = await cards.load(parsed, session.credentials.credentials)
    show_card(session, found)
    problems = cards.problems.get(parsed, []) + problems_of(
        found, where, card_host=parsed.host if isinstance(parsed, CardUrl) else "", any_host=settings.any_card_host
    )
    if validate and not problems:
        session.show.note(f"the card at {mask_url(where)} is valid")
    for problem in problems:
        session.show.note(f"problem: {problem}")
    return ExitCode.PROTOCOL if validate and problems else ExitCode.OK


async def _extended(session: Session) -> ExitCode:
    if session.as_grpcurl:
        return await session.grpcurl("GetExtendedAgentCard", GetExtendedAgentCardRequest())
    async with session.client() as client:
        show_card(session, await client.extended_card())
    return ExitCode.OK


def show_card(session: Session, card: AgentCard) -> None:
    """Print a card, as JSON or for people."""
    show = session.show
    if show.as_json:
        return show.json(card)
    show.fields((card.name, "bold"), " ", card.version)
    show.fields(card.description)
    for interface in card.supported_interfaces:
        tenant = f", tenant {interface.tenant}" if interface.tenant else ""
        show.fields(f"  {interface.protocol_binding} {interface.protocol_version}  {mask_url(interface.url)}", tenant)
    offered = [name for name in ("streaming", "push_notifications", "extended_agent_card")
               if getattr(card.capabilities, name)]  # fmt: skip
    show.fields(f"  offers {', '.join(offered) or 'no optional capability'}")
    for extension in card.capabilities.extensions:
        show.fields(f"  extension {extension.uri}", " (required)" if extension.required else "")
    for skill in card.skills:
        show.fields((skill.id, "cyan"), "  ", skill.description or skill.name)
    return None
