"""Choose the skill of an agent that a message is for."""

import inspect
import reprlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from a2a_grpc.agent.callback import is_callback
from a2a_grpc.agent.skill import Skill
from a2a_grpc.errors import InvalidRequestError, PermissionDeniedError, Violation
from a2a_grpc.parts import to_python
from a2a_grpc.principal import Principal
from a2a_grpc.wire import Message, SendMessageRequest

SKILL = "skill"
"""The key in the metadata of a message or a request with which a caller names the skill."""

Router: TypeAlias = Callable[[Message], str | Awaitable[str | None] | None]
"""A function that chooses a skill for a message. It returns the id of the skill, or None for the default skill."""


class Choice:
    """Chooses among the skills of an agent, as `Agent.choose` says."""

    def __init__(self, name: str, skills: Mapping[str, Skill]) -> None:
        self._name = name
        self._skills = skills
        self.callback_skill = ""
        """The id of the skill for messages that bring results; empty if there is none."""
        self.router: Router | None = None

    async def skill_for(
        self, request: SendMessageRequest, previous: str, default: str, principal: Principal | None
    ) -> Skill:
        """Return the skill for a message. `Agent.choose` has the arguments and the errors."""
        unnamed = f"message.metadata.{SKILL}", ""
        field, named = named_in_metadata(request, SKILL, "a text: the id of a skill") or unnamed
        skill_id = named or previous or self._only_one(request.message) or await self._routed(request.message)
        skill = self._skills.get(skill_id or default)
        if skill is None:
            raise InvalidRequestError.of(Violation(field, self._advice(skill_id)))
        held = principal.scopes if principal else ()
        if missing := [scope for scope in skill.scopes if scope not in held]:
            raise PermissionDeniedError(
                f"the skill '{skill.id}' needs the scope {', '.join(map(repr, missing))}, which the caller lacks",
                metadata={"skill": skill.id, "missing_scopes": ",".join(missing)},
            )
        if skill.validate is not None:
            skill.validate(request.message)
        return skill

    def _only_one(self, message: Message) -> str:
        """Return the id of the only skill that can be meant; "" if there are several."""
        if self.callback_skill and is_callback(message):
            return self.callback_skill
        ordinary = [one for one in self._skills if one != self.callback_skill] or list(self._skills)
        return ordinary[0] if len(ordinary) == 1 else ""

    async def _routed(self, message: Message) -> str:
        """Return the id that the router chooses; "" if it chooses none. Raise LookupError if it is no skill."""
        chosen = self.router(message) if self.router is not None else None
        if not isinstance(chosen, str) and inspect.isawaitable(chosen):
            chosen = await chosen
        if chosen and chosen not in self._skills:
            raise LookupError(f"the router of '{self._name}' chose '{chosen}', which is not a skill")
        return chosen or ""

    def _advice(self, skill_id: str) -> str:
        """Return what the caller can do if there is no such skill, or if it has named none."""
        known = ", ".join(f"'{known}'" for known in self._skills)
        if skill_id:
            return f"'{skill_id}' is not a skill of this agent; its skills are {known}"
        first = next(iter(self._skills), "ID")
        return (
            f"this agent has several skills; name one of {known} in the metadata, for example "
            f'metadata={{"skill": "{first}"}} in Python, -m skill={first} on the command line'
        )


def named_in_metadata(request: SendMessageRequest, key: str, expected: str) -> tuple[str, str] | None:
    """Return the field in which a caller names something, and the name. Return None if there is no name.

    A name in the metadata of the message is preferred to one in the metadata of the request.

    Raises:
        InvalidRequestError: A name is not a text. The error says what is `expected`.
    """
    if not request.message.HasField("metadata") and not request.HasField("metadata"):
        return None
    named: list[tuple[str, str]] = []
    wrong: list[Violation] = []
    for path, holder in (("message.metadata", request.message), ("metadata", request)):
        if not holder.HasField("metadata") or key not in holder.metadata.fields:
            continue
        given, field = holder.metadata.fields[key], f"{path}.{key}"
        if given.WhichOneof("kind") != "string_value":
            wrong.append(Violation(field, f"is {reprlib.repr(to_python(given))}; it must be {expected}"))
        named.append((field, given.string_value))
    if wrong:
        raise InvalidRequestError.of(*wrong)
    return named[0] if named else None
