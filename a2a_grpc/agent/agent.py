"""The declaration of an agent: who it is, what it can do, which function does it."""

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from a2a_grpc.agent.handler import handler_of
from a2a_grpc.agent.output import Output
from a2a_grpc.agent.turn import Turn
from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.text import flaw
from a2a_grpc.wire import AgentCard, Message, SendMessageRequest

Handler: TypeAlias = Callable[[Turn], Awaitable[Output] | AsyncIterator[Output]]
Router: TypeAlias = Callable[[Message], str | Awaitable[str | None] | None]
Validator: TypeAlias = Callable[[Message], None]
ExtendedCard: TypeAlias = Callable[[AgentCard, Principal], AgentCard | Awaitable[AgentCard]]
Decorated = TypeVar("Decorated")

SKILL = "skill"
"""Metadata key, of a message or a request, by which a caller names the skill that is meant."""

DEFAULT_MODES = ("text/plain", "application/json")


@dataclass(frozen=True, slots=True)
class Skill:
    """One thing the agent can do, and the function that does it."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]
    examples: tuple[str, ...]
    input_modes: tuple[str, ...]
    output_modes: tuple[str, ...]
    answers: Literal["task", "message"]
    validate: Validator | None
    handler: Handler
    is_generator: bool
    """Whether the handler yields pieces, rather than returning its output."""


class Agent:
    """An agent.

    `card` may hold whatever else the agent card shall say (provider, icon, extensions, security schemes); name,
    version, skills and the address come from the declaration. Behaviour follows the card that results.

    A `resumable` agent does what it does again without harm, or goes on from what `turn.task` already holds: a run that
    is lost with its server is begun anew, on a durable store. Otherwise its task fails.
    """

    def __init__(
        self,
        name: str,
        description: str,
        version: str = "1.0.0",
        *,
        default_skill: str | None = None,
        input_modes: Sequence[str] = DEFAULT_MODES,
        output_modes: Sequence[str] = DEFAULT_MODES,
        streaming: bool = True,
        resumable: bool = False,
        card: AgentCard | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.version = version
        self.default_skill = default_skill
        self.input_modes = tuple(input_modes)
        self.output_modes = tuple(output_modes)
        self.streaming = streaming
        self.resumable = resumable
        """Whether a run that is lost with its server may be begun again (`Turn.attempt`)."""
        self.card = card or AgentCard()
        self.skills: dict[str, Skill] = {}
        self.extended: ExtendedCard | None = None
        self._router: Router | None = None

    def skill(
        self,
        id: str | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        examples: Sequence[str] = (),
        input_modes: Sequence[str] = (),
        output_modes: Sequence[str] = (),
        answers: Literal["task", "message"] = "task",
        validate: Validator | None = None,
    ) -> Callable[[Decorated], Decorated]:
        """Declares a skill. Decorates a coroutine function, an async generator function, or a class (or an instance of
        one) with such an `execute(turn)`.

        `answers="message"`: the skill answers with a bare message, and no task exists. `validate` sees the message
        before anything is stored and refuses it with InvalidRequestError.

        What is not given comes from the function: the id from its name, the description from its docstring.
        Raises TypeError for a function that is not asynchronous or takes more than the turn, and for an AgentExecutor
        of the official SDK; ValueError for an id that is taken, or that no store
        can keep.
        """

        def declare(target: Decorated) -> Decorated:
            handler: Handler = handler_of(target)
            own_name = getattr(target, "__name__", type(target).__name__)
            skill_id = id or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", own_name).lower()
            if found := flaw(skill_id):
                raise ValueError(f"the id {skill_id[:64]!r} of a skill {found}")
            if skill_id in self.skills:
                raise ValueError(f"skill '{skill_id}' is declared twice")
            about = description or inspect.getdoc(handler) or inspect.getdoc(target) or name or skill_id
            self.skills[skill_id] = Skill(
                id=skill_id,
                name=name or skill_id.replace("_", " ").replace("-", " ").capitalize(),
                description=about,
                tags=tuple(tags) or (skill_id,),
                examples=tuple(examples),
                input_modes=tuple(input_modes),
                output_modes=tuple(output_modes),
                answers=answers,
                validate=validate,
                handler=handler,
                is_generator=inspect.isasyncgenfunction(handler),
            )
            return target

        return declare

    def router(self, route: Router) -> Router:
        """Declares the function that chooses the skill of a message that names none: an id, or None for the default."""
        self._router = route
        return route

    def extended_card(self, make: ExtendedCard) -> ExtendedCard:
        """Declares the function that makes the extended card from a copy of the public one and the caller."""
        self.extended = make
        return make

    async def choose(self, request: SendMessageRequest, previous: str = "") -> Skill:
        """The skill a message is for: the one its metadata names, else the one that the task began with, else the only
        one, else the router's choice, else the default.

        Raises InvalidRequestError if that is none, or if the skill's own validation refuses the message.
        """
        field, named = _named_skill(request)
        skill_id = named or previous
        if not skill_id and len(self.skills) == 1:
            skill_id = next(iter(self.skills))
        if not skill_id and self._router is not None:
            chosen = self._router(request.message)
            if not isinstance(chosen, str) and inspect.isawaitable(chosen):
                chosen = await chosen
            skill_id = chosen or ""
            if skill_id and skill_id not in self.skills:
                raise LookupError(f"the router of '{self.name}' chose '{skill_id}', which is not a skill")
        skill = self.skills.get(skill_id or self.default_skill or "")
        if skill is None:
            known = ", ".join(f"'{known}'" for known in self.skills)
            given = f"'{skill_id}' is not a skill of this agent" if skill_id else "this agent has several skills"
            raise InvalidRequestError.of(Violation(field, f"{given}; name one of {known}"))
        if skill.validate is not None:
            skill.validate(request.message)
        return skill


def _named_skill(request: SendMessageRequest) -> tuple[str, str]:
    """Return where a caller names the skill, or would, with the name; the message's own counts before the request's.

    Raise InvalidRequestError for each name that is no text.
    """
    named: list[tuple[str, str]] = []
    wrong: list[Violation] = []
    for path, holder in (("message.metadata", request.message), ("metadata", request)):
        if not holder.HasField("metadata") or SKILL not in holder.metadata.fields:
            continue
        given, field = holder.metadata.fields[SKILL], f"{path}.{SKILL}"
        if given.WhichOneof("kind") != "string_value":
            wrong.append(Violation(field, "must be a text: the id of a skill"))
        named.append((field, given.string_value))
    if wrong:
        raise InvalidRequestError.of(*wrong)
    return named[0] if named else (f"message.metadata.{SKILL}", "")
