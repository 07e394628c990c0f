"""What has to be true before a server starts: of its store, and of the scopes that its skills need."""

from a2a_grpc.agent import Agent
from a2a_grpc.auth.callers import Callers
from a2a_grpc.config import ConfigurationError
from a2a_grpc.store import Coordination, Mailbox, Notes, Records, TaskStore
from a2a_grpc.store.command import db_command


def check_store(store: object) -> None:
    """Raise TypeError for an object that lacks a method of a store."""
    kind = type(store).__name__
    if not _has_methods(store, Records):
        raise TypeError(f"Server(): store is of type {kind}; it must be a TaskStore")
    if not (_has_methods(store, Coordination) and _has_methods(store, Mailbox)):
        raise TypeError(f"Server(): store is of type {kind}, which only keeps tasks; give OneServer(store)")
    if not _has_methods(store, Notes):
        raise TypeError(
            f"Server(): store is of type {kind}, which lacks the methods put_note, get_note and note_sizes of "
            "a2a_grpc.store.Notes"
        )


def check_scopes(agent: Agent, callers: Callers) -> None:
    """Raise ConfigurationError if a skill needs scopes that no caller can have."""
    for skill in agent.skills.values():
        if skill.scopes and not callers.authenticates:
            raise ConfigurationError(
                f"the skill '{skill.id}' needs the scope {', '.join(map(repr, skill.scopes))}, but the server does not "
                "authenticate its callers; give --auth, --api-keys or --jwt-issuer, or Server(…, auth=[…])"
            )


async def check_owner(store: TaskStore, name: str, store_url: str) -> None:
    """Raise ConfigurationError if the store keeps the tasks of another agent.

    The server would run the tasks of that agent, and would end those whose skills it does not know. Replicas and
    versions of one agent have one name.

    Args:
        store: The store, which is open.
        name: The name of the agent to serve.
        store_url: The URL of the store, without its password; "" for a store that the program has made.
    """
    kept = await store.belong_to(name)
    if kept == name:
        return
    whose = f"keeps the tasks of the agent '{kept}', and this agent is '{name}'"
    if not store_url:
        raise ConfigurationError(f"the given store {whose}: give each agent a store of its own")
    raise ConfigurationError(
        f"store is '{store_url}'; it {whose}: give each agent a store of its own (another file or database; "
        f"on PostgreSQL ?schema=NAME is enough). If '{kept}' is called '{name}' from now on, "
        f"{db_command('rename', store_url, name)}"
    )


def _has_methods(store: object, part: type) -> bool:
    return all(hasattr(store, name) for name in vars(part) if not name.startswith("_"))
