"""The two RPCs that send a message: SendMessage and SendStreamingMessage."""

import logging

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent
from a2a_grpc.agent.callback import asked_in, is_callback
from a2a_grpc.engine import AcceptedTurn, Engine, SendCall, ended_before
from a2a_grpc.errors import PermissionDeniedError, UnsupportedOperationError
from a2a_grpc.harmless import one_line
from a2a_grpc.protocol import Key
from a2a_grpc.rpc import Context
from a2a_grpc.server.admission import Admission, Call
from a2a_grpc.server.answers import Answers, element_of
from a2a_grpc.server.disconnects import GONE, Disconnects
from a2a_grpc.server.loads import seen, view_of
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.policy import Policy
from a2a_grpc.server.push_calls import PushCalls
from a2a_grpc.server.requests import Checks
from a2a_grpc.server.width import LARGE_BYTES
from a2a_grpc.wire import AgentCard, Message, SendMessageRequest, message_element

logger = logging.getLogger("a2a_grpc.server")

MAX_LOGGED_CHARS = 100
"""Characters of a text of a caller in a line of the log."""


def check_streaming(card: AgentCard) -> None:
    """Raise UnsupportedOperationError if the agent does not stream."""
    if not card.capabilities.streaming:
        raise UnsupportedOperationError("this agent does not stream", metadata={"capability": "streaming"})


class Sends:
    """Serves the RPCs that send a message.

    Guarantees:

    - The stream of a send ends OK only after a terminal event or after INPUT_REQUIRED (OPEN-1).
    """

    def __init__(
        self,
        agent: Agent,
        engine: Engine,
        card: AgentCard,
        admission: Admission,
        checks: Checks,
        pace: Pace,
        policy: Policy,
        answers: Answers,
        push: PushCalls,
        disconnects: Disconnects,
    ) -> None:
        self._agent = agent
        self._engine = engine
        self._log = engine.log
        self._card = card
        self._accept = admission.accept
        self._checks = checks
        self._pace = pace
        self._policy = policy
        self._answers = answers
        self._push = push
        self._disconnects = disconnects

    async def send(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(SendMessageRequest, raw, context)
        configuration = request.configuration
        accepted = await self._accept_turn(
            "SendMessage", call, request, len(raw), waits=not configuration.return_immediately
        )
        if isinstance(accepted, Message):
            return await self._answers.unary(call, context, message_element(accepted))
        snapshot = accepted.snapshot
        if not configuration.return_immediately:
            try:
                snapshot = await self._engine.settled(accepted)
            except GONE:
                self._disconnects.handle(call, accepted.key)
                raise
            call.saw(snapshot.state)
        task = await seen(snapshot, view_of(call, configuration))
        return await self._answers.unary(call, context, await element_of(task))

    async def stream(self, raw: bytes, context: Context) -> None:
        call, request = await self._accept(SendMessageRequest, raw, context)
        accepted = await self._accept_turn("SendStreamingMessage", call, request, len(raw), streams=True)
        if isinstance(accepted, Message):
            await self._answers.single(call, context, message_element(accepted))
            return
        start = accepted.snapshot
        try:
            with accepted.records or self._log.follow(accepted.key, start.seq, start.state) as records:
                state, turn = await self._answers.stream(
                    call,
                    context,
                    records,
                    start,
                    first=await seen(start, view_of(call, request.configuration)),
                    is_over=lambda state, turn: state == lifecycle.INPUT_REQUIRED and turn >= accepted.turn,
                )
        except GONE:
            self._disconnects.handle(call, accepted.key)
            raise
        if turn < accepted.turn:
            raise ended_before(accepted.key, state)

    async def _accept_turn(
        self,
        operation: str,
        call: Call,
        request: SendMessageRequest,
        size: int,
        *,
        streams: bool = False,
        waits: bool = False,
    ) -> AcceptedTurn | Message:
        if size > LARGE_BYTES:
            await self._pace.run(self._checks.sending(request))
        else:
            self._checks.send(request)
        if streams:
            check_streaming(self._card)
        asked = asked_in(request.message)
        if asked is not None or request.configuration.HasField("task_push_notification_config"):
            self._push.check_offered()  # before any task exists (OPEN-14)
        if is_callback(request.message):
            self._check_token(call)
        task_id = request.message.task_id
        await self._policy.check(call.principal, operation, call.key(task_id) if task_id else None)
        send = SendCall(call.principal, request, call.metadata.idempotency_key, waits, streams, size)
        async with self._push.sending(call, send, asked):
            accepted = await self._engine.accept(send)
        if isinstance(accepted, AcceptedTurn):
            call.reached(accepted.key.id, request.message.context_id, accepted.snapshot.state)
            return accepted
        call.reached(task_id, accepted.context_id, 0)
        if send.pushes is not None:  # a config belongs to a task (SEND-11), and there is none
            logger.info(
                "a send was answered with a message, so its push config or callback is not used message_id=%s",
                one_line(request.message.message_id, MAX_LOGGED_CHARS),
            )
        return accepted

    def _check_token(self, call: Call) -> None:
        """Raise PermissionDeniedError for a result that the agent has not asked for."""
        callbacks = self._agent.callbacks
        if callbacks.function is not None and not callbacks.accepts(call.metadata.token):
            raise PermissionDeniedError(
                f"the message brings the result of a task without a token of this agent in the metadata '{Key.TOKEN}'"
            )
