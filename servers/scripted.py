"""An agent that does what its messages say, step by step. It is for tests of clients.

A message with the data part {"script": [step, …]} runs the steps in order. A script without an end completes the task.
After {"input": …} the next message continues the task, with its own script if it has one. Other messages are echoed.
"""

from scripted_steps import bound

from a2a_grpc import Agent, InvalidRequestError, Message, Turn
from a2a_grpc.cli import serve_command
from a2a_grpc.errors import Violation
from a2a_grpc.parts import data_of

agent = Agent("Scripted", "Plays scripts, to test clients with.", input_modes=["*/*"], output_modes=["*/*"])


def script_of(message: Message) -> list:
    data = data_of(message)
    return data.get("script", []) if isinstance(data, dict) else []


def check(message: Message) -> None:
    """Refuse a malformed script, with the name of the step."""
    script = script_of(message)
    if not isinstance(script, list):
        raise InvalidRequestError.of(Violation("script", "must be a list of steps"))
    for place, step in enumerate(script):
        try:
            bound(step)
            if "message" in step and (len(script) > 1 or message.task_id):
                raise ValueError("'message' must be the sole step of a first message")
        except (TypeError, ValueError) as error:
            raise InvalidRequestError.of(Violation(f"script[{place}]", str(error))) from error


@agent.router
def route(message: Message) -> str:
    check(message)
    return "reply" if any("message" in step for step in script_of(message)) else "play"


@agent.skill("reply", answers="message", validate=check)
async def reply(turn: Turn) -> str:
    """Answer with a message, without a task."""
    return script_of(turn.message)[0]["message"]


@agent.skill("play", validate=check)
async def play(turn: Turn) -> None:
    """Run a script, or echo the message."""
    steps = script_of(turn.message)
    if not steps:
        await turn.artifact(list(turn.message.parts), name="echo", last_chunk=True)
    while steps:
        step, *steps = steps
        if "input" in step and steps:
            answer = await turn.ask(step["input"])
            steps = script_of(answer.message) or steps
        else:
            function, arguments = bound(step)
            await function(turn, **arguments)


if __name__ == "__main__":
    serve_command(agent)
