"""The declaration of an agent: its name, its skills, and the function of each skill."""

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Literal, TypeAlias, TypeVar

from a2a_grpc.agent.callbacks import Callbacks, OnCallback, check_brings_result
from a2a_grpc.agent.choice import Choice, Router
from a2a_grpc.agent.handler import check_called, handler_of
from a2a_grpc.agent.skill import Handler, Skill, Validator
from a2a_grpc.arguments import checked
from a2a_grpc.principal import Principal
from a2a_grpc.text import flaw
from a2a_grpc.wire import AgentCard, SendMessageRequest

ExtendedCard: TypeAlias = Callable[[AgentCard, Principal], AgentCard | Awaitable[AgentCard]]
"""A function that makes the extended agent card for a caller from a copy of the public card."""
Decorated = TypeVar("Decorated")
Called = TypeVar("Called", bound=OnCallback)

DEFAULT_MODES = ("text/plain", "application/json")


@checked()
class Agent:
    """An agent: its description for the agent card, and its skills.

    Declare each skill with `@agent.skill()`. Then serve the agent with `serve(agent)` or `Server(agent)`. The server
    follows the agent card that results: it refuses, for example, streams if `streaming` is False. Each argument is also
    an attribute of the same name.

    Args:
        name: The name of the agent, for people. A store keeps the tasks of one name only.
        description: What the agent does, for people and for other agents.
        version: The version of the agent.
        default_skill: The id of the skill for messages that name no skill, if there are several skills.
        input_modes: The media types that the skills accept, unless a skill names its own.
        output_modes: The media types that the skills give, unless a skill names its own.
        streaming: False to refuse streams and subscriptions, and to say so on the agent card.
        resumable: True if a handler may run again after its server was lost while the handler worked. The handler
            then has to repeat its work without harm, or go on from what `turn.task` already holds. `turn.attempt`
            counts its runs. This needs a store that survives the process. If False, such a task ends in FAILED.
        card: Further fields of the agent card, such as provider, icon, extensions and security schemes. The server
            sets name, description, version, skills and address.

    Attributes:
        skills: The declared skills by id, in the order of their declaration.
        extended: The function that `extended_card` declared, or None.
        callbacks: The tokens for callbacks. `callbacks.issue()` gives what asks another agent to call this one back.
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
        self.card = card or AgentCard()
        self.skills: dict[str, Skill] = {}
        self.extended: ExtendedCard | None = None
        self.callbacks = Callbacks(name)
        self._choice = Choice(name, self.skills)

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
        scopes: Sequence[str] = (),
        validate: Validator | None = None,
    ) -> Callable[[Decorated], Decorated]:
        """Declare a skill. Return a decorator for the function that does the work.

        The function takes one argument, the `Turn`. It is a coroutine function that returns its output, or an async
        generator function that yields pieces of it. A class with such a method `execute(turn)`, or an instance of one,
        can be decorated in the same way.

        Args:
            id: The id by which callers name the skill; by default the name of the function.
            name: The name on the agent card; by default made from the id.
            description: The description on the agent card; by default the docstring of the function.
            tags: Tags on the agent card; by default the id alone.
            examples: Examples of messages, on the agent card.
            input_modes: The media types that the skill accepts; by default those of the agent.
            output_modes: The media types that the skill gives; by default those of the agent.
            answers: "task" if a message makes a task. "message" if the skill answers with a message, and no task
                exists that the caller could watch, cancel or get later.
            scopes: The scopes that a caller needs, all of them. The server has to authenticate its callers.
            validate: A function that checks the message before anything is stored. It raises InvalidRequestError to
                refuse the message.

        Raises:
            TypeError: The function is not asynchronous, takes other arguments than the turn, or is an AgentExecutor
                of the official SDK. The decorator raises this.
            ValueError: Another skill has this id, or a store cannot keep the id. The decorator raises this.
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
                scopes=tuple(scopes),
            )
            return target

        return declare

    @classmethod
    def of_executor(cls, executor: object, *, card: AgentCard, resumable: bool = False) -> "Agent":
        """Return an agent that runs an `AgentExecutor` of the official Python SDK. This needs the extra `a2a-sdk`.

        The executor runs unchanged, with its `RequestContext`, `EventQueue` and `TaskUpdater`. Artifacts and updates in
        WORKING are stored before `enqueue_event` returns. docs/adapters.md says what differs from the SDK's server.

        Args:
            executor: The executor.
            card: The agent card of the existing server. The server sets the address itself.
            resumable: As in `Agent`.

        Raises:
            ImportError: The package `a2a-sdk` is not installed.
            TypeError: The object is not an AgentExecutor, or the card is not an AgentCard.
        """
        # By its name, because this module is on a lower floor: agents of other frameworks are built on `Agent`.
        agent: Agent = import_module("a2a_grpc.adapters.executor").agent_of(executor, card, resumable=resumable)
        return agent

    def on_callback(self, function: Called) -> Called:
        """Declare the function that gets the results of other agents' tasks. Use it as a decorator.

        The function runs once for each result, also if the other agent sends the result several times. It is a skill of
        this agent, so each result is a task here, and what the function returns is its output. Only calls with a token
        from `callbacks.issue()` reach it.

        Args:
            function: A coroutine function that takes the `Callback`.

        Raises:
            TypeError: The function is not a coroutine function, or takes other arguments.
            ValueError: The agent has such a function already, or a skill with its name.
        """
        if self.callbacks.function is not None:
            raise ValueError(f"the agent '{self.name}' has two functions for callbacks")
        check_called(function)
        name = getattr(function, "__name__", "callback")
        self.skill(
            name,
            description=inspect.getdoc(function) or "Takes the results of tasks of other agents.",
            tags=("callback",),
            input_modes=("*/*",),
            validate=check_brings_result,
        )(self.callbacks.take)
        self.callbacks.function, self._choice.callback_skill = function, name
        return function

    def router(self, route: Router) -> Router:
        """Declare the function that chooses the skill for a message that names none. Use it as a decorator.

        The router is asked for messages that begin a task, if the agent has several skills. A router that returns an
        id that is no skill is an error of the agent: the call fails with INTERNAL.

        Args:
            route: A function, or a coroutine function, that takes the message. It returns the id of a skill, or None
                for `default_skill`.
        """
        self._choice.router = route
        return route

    def extended_card(self, make: ExtendedCard) -> ExtendedCard:
        """Declare the function that makes the extended agent card (spec §3.1.11). Use it as a decorator.

        Args:
            make: A function, or a coroutine function, that takes a copy of the public card and the caller. It returns
                the card for this caller.
        """
        self.extended = make
        return make

    async def choose(
        self, request: SendMessageRequest, previous: str = "", *, principal: Principal | None = None
    ) -> Skill:
        """Return the skill that a message is for.

        This is the skill that the metadata of the message or the request names. Without such a name it is the first of
        these that exists: `previous`, the only skill of the agent, the choice of the router, `default_skill`. The
        function for callbacks gets the messages that bring results, and no others.

        Args:
            request: The request with the message.
            previous: The id of the skill that the task began with; empty for a new task.
            principal: The caller; by default an anonymous one, without scopes.

        Raises:
            InvalidRequestError: No skill was found, or the skill's `validate` refuses the message.
            PermissionDeniedError: The caller lacks a scope that the skill needs.
            LookupError: The router returned an id that is no skill.
        """
        return await self._choice.skill_for(request, previous, self.default_skill or "", principal)
