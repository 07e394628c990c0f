"""`a2a-grpc send`, which sends a message and prints the answer."""

from typing import Annotated

import typer

from a2a_grpc.cli import message as given
from a2a_grpc.cli import saving
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.follow import ask, exit_code_for, follow
from a2a_grpc.cli.session import Session
from a2a_grpc.client.sending import send_request
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import Message, Task


async def send(
    session: Session,
    message: given.Given,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the new task and end at once.", rich_help_panel=given.PANEL)
    ] = False,
    cancel_on_interrupt: given.CancelOnInterrupt = False,
    save: saving.SaveOption = None,
    force: saving.ForceOption = False,
) -> ExitCode:
    """Send a message and wait for the answer.

    The answer goes to standard output, the state of the task to standard error. The command waits as long as the task
    takes, and connects again if the connection is lost. Ctrl-C stops the command; the task continues.
    """
    saving.check(save, force=force)
    if save is not None and no_wait:
        raise ConfigurationError("--save and --no-wait exclude each other; save the files later with 'a2a-grpc get'")
    parts, options = message.parts(), message.options()
    if session.as_grpcurl:
        request = send_request(parts, options)
        if no_wait:
            request.configuration.return_immediately = True
        return await session.grpcurl("SendMessage", request, *message.headers())
    async with session.client() as client:
        reply: Task | Message | None
        if no_wait:
            reply = await client.start(parts, **options)
        else:
            events = client.stream(parts, **options)
            with session.show.waiting():
                reply = await follow(session, client, events, tell=False, cancel_on_interrupt=cancel_on_interrupt)
    assert reply is not None
    session.show.answer(reply)
    if save is not None:
        saving.save(reply if isinstance(reply, Task) else Task(), save, session.show, force=force)
    if isinstance(reply, Message):
        return ExitCode.OK
    ask(session, reply.id, reply.status.state)
    return exit_code_for(reply.status.state)
