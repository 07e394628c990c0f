"""`a2a-grpc chat`, a conversation with an agent."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

from a2a_grpc import lifecycle
from a2a_grpc.cli import message as given
from a2a_grpc.cli.conversation import Conversation, Leave, Stopped
from a2a_grpc.cli.exits import ExitCode, say_error
from a2a_grpc.cli.lines import Lines
from a2a_grpc.cli.session import Session
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError


async def chat(
    session: Session,
    task: given.TaskOption = "",
    context: given.Context = "",
    metadata: given.MetadataOption = None,
    accept: given.Accept = None,
) -> ExitCode:
    """Talk with an agent, line by line.

    Each line is a message of one conversation, and answers come as the agent writes them. If the agent asks, the next
    line is the answer. '/help' lists the commands, such as '/file PATH'. Ctrl-C cancels the answer, Ctrl-D leaves. In a
    pipe, each line of standard input is a message, and the exit code tells if one failed.
    """
    if session.as_grpcurl:
        raise ConfigurationError("--as-grpcurl is for single calls; use it with 'a2a-grpc send'")
    options = given.Given(context=context, metadata=metadata, accept=accept).options()
    async with session.client() as client:
        with Lines([f"/{name}" for name in COMMANDS], f"/{FILE}", session.show.note) as lines:
            conversation = Conversation(session, client, options)
            try:
                if task:
                    await conversation.attach(task)
                await _talk(session, conversation, lines)
            except Leave as left:
                if left.code is not None:
                    return left.code
    return ExitCode.OK if lines.is_terminal else conversation.exit_code


async def _talk(session: Session, conversation: Conversation, lines: Lines) -> None:
    """Read lines until there are no more. Raise Leave if the user leaves in another way."""
    if lines.is_terminal:
        session.show.note(f"talking with {session.shown}; /help lists the commands, Ctrl-D leaves")
    while True:
        try:
            line = _next(session, conversation, lines)
            if line is None:
                break
            await _take(conversation, line)
        except Stopped:
            if not lines.is_terminal:
                raise
            session.show.note("")
        except (A2AError, ConfigurationError) as error:
            if not lines.is_terminal:
                raise
            session.outage.close()  # its note would come at the next prompt
            say_error(error)
    if lines.is_terminal:
        session.show.line("")


def _next(session: Session, conversation: Conversation, lines: Lines) -> str | None:
    """Return the next line; None after the last one. Raise Leave at the second Ctrl-C."""
    asking = conversation.asking
    files = f"{len(conversation.files)} file{'s' if len(conversation.files) > 1 else ''} " if conversation.files else ""
    for presses in count(1):
        try:
            line = lines.read(f"{files}{'answer' if asking is not None else ''}> ")
        except KeyboardInterrupt:
            session.show.note("")
            if presses == 2 or not lines.is_terminal:
                raise Leave(ExitCode.INTERRUPTED) from None
            session.show.note("Ctrl-C once more leaves, as does Ctrl-D")
            continue
        may_be_secret = asking is not None and asking.status.state == lifecycle.AUTH_REQUIRED
        if line and line.strip() and not may_be_secret:
            lines.remember(line)
        return line
    return None


async def _take(conversation: Conversation, line: str) -> None:
    """Run a line that is a command. Send each other line as a message."""
    text = line.strip()
    if text.startswith("//"):
        await conversation.send(line.replace("//", "/", 1))
    elif text.startswith("/"):
        await _command(conversation, text)
    elif text or conversation.files:
        await conversation.send(line)


async def _command(conversation: Conversation, text: str) -> None:
    name, _, argument = text[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise ConfigurationError(
            f"there is no command '/{name}'; /help lists the commands, and '/{text}' with two slashes is a message"
        )
    argument = argument.strip()
    if argument and not command.argument:
        raise ConfigurationError(f"/{name} takes nothing after it, but there is '{argument}'")
    if not argument and command.argument and not command.argument.startswith("["):
        raise ConfigurationError(f"{command.argument} is missing; it comes after /{name}")
    await command.run(conversation, argument)


async def _help(conversation: Conversation, _: str) -> None:
    for name, command in COMMANDS.items():
        conversation.show.note(f"{f'/{name} {command.argument}':14} {command.about}")
    conversation.show.note("Each other line is a message. Ctrl-C cancels the answer or stops a command, twice leaves.")


async def _new(conversation: Conversation, _: str) -> None:
    conversation.begin()


async def _quit(_: Conversation, __: str) -> None:
    raise Leave


class Command(NamedTuple):
    """A command of the conversation."""

    run: Callable[[Conversation, str], Awaitable[None]]
    argument: str
    """What has to stand after it, in brackets if it may be left out; empty for nothing."""
    about: str


FILE = "file"
COMMANDS = {
    FILE: Command(Conversation.add_file, "PATH", "send a file with the next message"),
    "cancel": Command(Conversation.cancel, "[TASK]", "cancel the task that asks, or another one"),
    "tasks": Command(Conversation.tasks, "[all]", "list the tasks of this conversation, or all"),
    "attach": Command(Conversation.attach, "TASK", "go on with a task and its conversation"),
    "new": Command(_new, "", "begin another conversation"),
    "help": Command(_help, "", "show this list"),
    "quit": Command(_quit, "", "leave"),
}
"""The commands of the conversation by name."""
