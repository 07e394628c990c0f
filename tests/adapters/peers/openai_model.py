"""A model of the OpenAI Agents SDK that says what a function returns."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from agents import Model
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

Said = Sequence[list[str] | tuple[str, str]]
"""What the model says: texts, in pieces, and calls of tools with their arguments."""


class Scripted(Model):  # type: ignore[misc]  # the SDK is not checked
    """Says what a function returns for the items of its input."""

    def __init__(self, script: Callable[[list[dict[str, Any]]], Said]) -> None:
        self._script = script

    async def get_response(self, *given: Any, **named: Any) -> Any:
        raise NotImplementedError("this model streams")

    async def stream_response(
        self, system_instructions: str | None, input: str | list[dict[str, Any]], *given: Any, **named: Any
    ) -> AsyncIterator[Any]:
        items = [{"role": "user", "content": input}] if isinstance(input, str) else input
        output: list[Any] = []
        for place, said in enumerate(self._script(items)):
            if isinstance(said, tuple):
                tool, arguments = said
                call_id = f"{tool}-{len(items)}"
                output.append(
                    ResponseFunctionToolCall(name=tool, arguments=arguments, call_id=call_id, type="function_call")
                )
                continue
            for piece in said:
                yield ResponseTextDeltaEvent(
                    type="response.output_text.delta", delta=piece, item_id="m", output_index=place,
                    content_index=0, logprobs=[], sequence_number=0,
                )  # fmt: skip
            text = ResponseOutputText(type="output_text", text="".join(said), annotations=[])
            output.append(
                ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
            )
        yield completed(output)


def completed(output: list[Any]) -> ResponseCompletedEvent:
    """Return the event that ends a response with this output."""
    response = Response(
        id="r", object="response", created_at=0, model="m", output=output, tools=[], tool_choice="none",
        parallel_tool_calls=False,
    )  # fmt: skip
    return ResponseCompletedEvent(type="response.completed", response=response, sequence_number=0)


def wish_of(items: list[dict[str, Any]]) -> str:
    """Return the last message of the user."""
    return str([item["content"] for item in items if item.get("role") == "user"][-1])


def results_of(items: list[dict[str, Any]]) -> list[str]:
    """Return the results of tools."""
    return [str(item["output"]) for item in items if item.get("type") == "function_call_output"]
