"""`a2a-grpc agents`, which finds agents in the registry of a sentinel."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.cli.card import show_card
from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.exits import EPILOG, ExitCode
from a2a_grpc.cli.session import Session
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.cli.verb import Verb, verb
from a2a_grpc.client.finding import no_agent
from a2a_grpc.client.registry import FoundAgent, Registry, registry_at
from a2a_grpc.masking import mask_url
from a2a_grpc.registry.wire import REGISTRY_SERVICE, FindRequest, GetRequest, ListRequest

At = Annotated[
    str | None,
    typer.Option(
        "--registry",
        metavar="HOST:PORT",
        help="Sentinel whose registry is asked. \\[default: --sentinel, then the variable REGISTRY_URL]",
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Number of agents to show, at most.")]


def commands() -> typer.Typer:
    """Return the group of the `agents` commands."""
    app = typer.Typer(cls=Group, no_args_is_help=True, help="Find agents in the registry of a sentinel.")
    functions: dict[str, Verb] = {"list": list_agents, "find": find, "show": show}
    for name, function in functions.items():
        about = with_examples(f"agents {name}", function.__doc__)
        app.command(name, cls=Command, help=about, epilog=EPILOG)(verb(function))
    return app


async def list_agents(session: Session, registry: At = None, limit: Limit = 50) -> ExitCode:
    """List the agents that you may call, by name."""
    if session.as_grpcurl:
        return await _grpcurl(session, registry, "List", ListRequest(page_size=min(limit, 100)))
    async with _opened(session, registry) as opened:
        shown, is_all = await _show_some(session, opened.list(), limit)
    if not (is_all and shown and session.show.as_json):
        session.show.note(_counted(shown, is_all=is_all))
    return ExitCode.OK


async def find(
    session: Session,
    query: Annotated[
        str, typer.Argument(metavar="[QUERY]", help="Words that the agent's card has.", show_default=False)
    ] = "",
    skill: Annotated[str, typer.Option("--skill", help="Id of a skill that the agent has.")] = "",
    tag: Annotated[
        list[str], typer.Option("--tag", help="Tag of the agent's skills. May be given several times.")
    ] = [],  # noqa: B006  Typer makes a new one
    registry: At = None,
    limit: Limit = 50,
) -> ExitCode:
    """Find agents by skill, tags and words, the one with most words first. The exit code is 1 if there is none."""
    if session.as_grpcurl:
        request = FindRequest(skill=skill, tags=tag, text=query, page_size=min(limit, 100))
        return await _grpcurl(session, registry, "Find", request)
    async with _opened(session, registry) as opened:
        found = opened.find(skill=skill, tags=tag, query=query)
        shown, is_all = await _show_some(session, found, limit)
        if not shown:
            raise no_agent(opened.address, skill, tag, query)
    if not is_all:
        session.show.note(_counted(shown, is_all=False))
    return ExitCode.OK


async def show(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or logical address of the agent.")],
    registry: At = None,
) -> ExitCode:
    """Show where an agent is called, and its card. The exit code is 1 if the registry has no such agent."""
    if session.as_grpcurl:
        return await _grpcurl(session, registry, "Get", GetRequest(name=name))
    async with _opened(session, registry) as opened:
        agent = await opened.get(name)
    if session.show.as_json:
        session.show.json_value(_values(agent))
        return ExitCode.OK
    session.show.fields((agent.name, "bold"), "  ", _where(agent))
    if agent.card is not None:
        show_card(session, agent.card)
    return ExitCode.OK


@asynccontextmanager
async def _opened(session: Session, registry: str | None) -> AsyncIterator[Registry]:
    async with Registry(
        registry, settings=session.settings, credentials=session.credentials.credentials, headers=session.headers
    ) as opened:
        yield opened


async def _grpcurl(session: Session, registry: str | None, method: str, request: ProtobufMessage) -> ExitCode:
    target = registry_at(registry, session.settings)
    settings = replace(session.settings, tenant=None)
    return await replace(session, target=target, settings=settings).grpcurl(method, request, service=REGISTRY_SERVICE)


async def _show_some(session: Session, agents: Any, limit: int) -> tuple[int, bool]:
    """Print agents, as many as the limit allows. Return how many were printed, and whether these are all."""
    shown = 0
    async with aclosing(agents):
        async for agent in agents:
            if shown == limit:
                return shown, False
            if session.show.as_json:
                session.show.json_value(_values(agent))
            else:
                if not shown:
                    session.show.note(f"{'NAME':32}  {'CALLED AT':32}  SKILLS")
                session.show.fields((f"{agent.name:32}", "bold"), "  ", f"{_where(agent):32}", "  ", _skills(agent))
            shown += 1
    return shown, True


def _where(agent: FoundAgent) -> str:
    return mask_url(agent.url) if agent.url else f"sentinel {agent.sentinel}"


def _skills(agent: FoundAgent) -> str:
    return ", ".join(skill.id for skill in agent.card.skills) if agent.card else ""


def _values(agent: FoundAgent) -> dict[str, object]:
    card = json_format.MessageToDict(agent.card) if agent.card else None
    return {
        "name": agent.name,
        "url": mask_url(agent.url),
        "sentinel": agent.sentinel,
        "tenant": agent.tenant,
        "card": card,
    }


def _counted(shown: int, *, is_all: bool) -> str:
    if is_all:
        return {0: "no agents", 1: "1 agent"}.get(shown, f"{shown} agents")
    return f"{shown} shown, and there are more; --limit shows more"
