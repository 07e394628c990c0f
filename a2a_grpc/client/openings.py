"""Begin the calls of one stream: the send, subscriptions, or what polls the task if the agent does not stream."""

from a2a_grpc.client.calls import Calls, StreamCall
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.polling import PolledCall
from a2a_grpc.client.resumption import Resumption
from a2a_grpc.client.spans import StreamSpan
from a2a_grpc.protocol import Key
from a2a_grpc.wire import SendMessageRequest, SubscribeToTaskRequest


class Openings:
    """Begins one call after the other, as the stream needs them.

    Attributes:
        send: The request of the send; None for a subscription.
        metadata: The metadata of the caller.
        asked: The metadata of the caller for the last call, with that of the span.
        sent: All metadata of the last call; empty if it polls.
    """

    def __init__(
        self,
        calls: Calls,
        resumption: Resumption,
        *,
        send: SendMessageRequest | None,
        metadata: Metadata,
        send_metadata: Metadata,
    ) -> None:
        self._calls = calls
        self._resumption = resumption
        self.send = send
        self.metadata = metadata
        self._send_metadata = send_metadata
        self.asked: Metadata = ()
        self.sent: list[tuple[str, str]] = []

    async def begin(self, span: StreamSpan) -> "StreamCall | PolledCall":
        """Begin the send, or a subscription after the last event, as a part of a span."""
        progress = self._resumption.progress
        if self._resumption.is_sending:
            assert self.send is not None  # a stream without a task begins with a send
            return await self._call(span, "SendStreamingMessage", self.send, self._send_metadata)
        seq = progress.places.seq
        place = [(Key.AFTER, str(seq))] if seq is not None else []
        return await self._call(span, "SubscribeToTask", SubscribeToTaskRequest(id=progress.followed.id), place)

    async def _call(
        self, span: StreamSpan, method: str, request: SendMessageRequest | SubscribeToTaskRequest, metadata: Metadata
    ) -> "StreamCall | PolledCall":
        self.sent = []
        if self._resumption.is_polled or not await self._calls.may_stream(is_send=request is self.send):
            could_stream = self._resumption.is_polled and not self._resumption.is_refused
            return PolledCall(
                self._calls, request, metadata=self.metadata, send_metadata=metadata, could_stream=could_stream
            )
        self.asked = span.told([*self.metadata, *metadata])
        call, self.sent = await self._calls.stream(method, request, metadata=self.asked)
        return call
