"""The answer of a user to a question of a handler."""

from a2a_grpc.parts import Json, data_of, text_of, to_dict
from a2a_grpc.wire import Message, SendMessageRequest


class Answer(str):
    """The user's answer, as `Turn.ask` returns it: a `str` with the text of the answer.

    Attributes:
        message: The message that the answer came in.
        metadata: The metadata of that message. Keys of the request's metadata replace those of the message.
    """

    message: Message
    metadata: dict[str, Json]

    @classmethod
    def of(cls, request: SendMessageRequest) -> "Answer":
        """Return the answer that a request brings.

        Args:
            request: The request whose message is the answer.
        """
        answer = cls(text_of(request.message))
        answer.message = request.message
        answer.metadata = metadata_of(request)
        return answer

    @property
    def data(self) -> Json:
        """The first part with structured data, as a Python value; None if the answer has no such part."""
        return data_of(self.message)


def metadata_of(request: SendMessageRequest) -> dict[str, Json]:
    """Return the metadata of a request's message. Keys of the request's own metadata replace those of the message."""
    return to_dict(request.message.metadata) | to_dict(request.metadata)
