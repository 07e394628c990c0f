"""`a2a-grpc stream`, which sends a message and prints the events of its task."""

from a2a_grpc.cli import message as given
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.follow import ask, exit_code_for, follow
from a2a_grpc.cli.session import Session
from a2a_grpc.client.sending import send_request
from a2a_grpc.wire import Task


async def stream(
    session: Session,
    message: given.Given,
    cancel_on_interrupt: given.CancelOnInterrupt = False,
) -> ExitCode:
    """Send a message and show the events of its task as they arrive.

    Text goes to standard output, states and progress to standard error. With '-o json' each event is one line. The
    command connects again if the connection is lost. Ctrl-C stops the command; the task continues.
    """
    parts, options = message.parts(), message.options()
    if session.as_grpcurl:
        request = send_request(parts, options)
        return await session.grpcurl("SendStreamingMessage", request, *message.headers())
    async with session.client() as client:
        events = client.stream(parts, **options)
        reply = await follow(session, client, events, cancel_on_interrupt=cancel_on_interrupt)
    if not isinstance(reply, Task):
        return ExitCode.OK
    ask(session, reply.id, reply.status.state)
    return exit_code_for(reply.status.state)
