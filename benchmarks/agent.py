"""The agent of the benchmarks; contenders.py says what it does."""

import asyncio
from collections import defaultdict

from a2a_grpc import Agent, InputRequired, Message, Turn

CHUNK = "x" * 20
gates = defaultdict(asyncio.Event)
agent = Agent("Bench", "Does what the benchmark asks for.")


@agent.router
def route(message: Message) -> str:
    return message.parts[0].text.partition(" ")[0]


@agent.skill("message", answers="message")
async def answer_at_once(turn: Turn) -> str:
    return "hello"


@agent.skill("open", answers="message")
async def open_gate(turn: Turn) -> str:
    gates[turn.text.split()[1]].set()
    return "open"


@agent.skill("task")
async def task(turn: Turn) -> str:
    return "hello"


@agent.skill("stream")
async def stream(turn: Turn):
    for _ in range(int(turn.text.split()[1])):
        yield CHUNK


@agent.skill("gated")
async def gated(turn: Turn):
    _, name, count = turn.text.split()
    await gates[name].wait()
    for _ in range(int(count)):
        yield CHUNK


@agent.skill("ticks")
async def ticks(turn: Turn):
    while True:
        await asyncio.sleep(float(turn.text.split()[1]))
        yield CHUNK


@agent.skill("ask")
async def ask(turn: Turn) -> None:
    raise InputRequired("Which one?")
