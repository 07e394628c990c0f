"""The servers that are compared: `python benchmarks/contenders.py bare|ours|sdk [STORE]` prints its address and serves.

STORE is a URL, for ours of any store, for the SDK `sqlite:///FILE`; without it tasks are kept in memory.

All three do the same work: "message" is answered with a message, "task" with a task that completes with one artifact, a
number with a task that streams so many appended chunks.
"""

import asyncio
import sys

import grpc
import grpc.aio
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb import a2a_pb2_grpc

CHUNK = "x" * 20


def update(state: int) -> a2a.StreamResponse:
    return a2a.StreamResponse(
        status_update=a2a.TaskStatusUpdateEvent(task_id="t", context_id="c", status=a2a.TaskStatus(state=state))
    )


def chunk_of(place: int) -> a2a.StreamResponse:
    artifact = a2a.Artifact(artifact_id="a", parts=[a2a.Part(text=CHUNK)])
    return a2a.StreamResponse(
        artifact_update=a2a.TaskArtifactUpdateEvent(task_id="t", context_id="c", artifact=artifact, append=place > 0)
    )


class Bare(a2a_pb2_grpc.A2AServiceServicer):
    """The ceiling: grpc.aio with answers that are ready."""

    task = a2a.Task(id="t", context_id="c", status=a2a.TaskStatus(state=a2a.TASK_STATE_COMPLETED))
    message = a2a.Message(message_id="m", context_id="c", role=a2a.ROLE_AGENT, parts=[a2a.Part(text="hello")])

    async def SendMessage(self, request, context):
        if request.message.parts[0].text == "message":
            return a2a.SendMessageResponse(message=self.message)
        return a2a.SendMessageResponse(task=self.task)

    async def GetTask(self, request, context):
        return self.task

    async def SendStreamingMessage(self, request, context):
        yield a2a.StreamResponse(task=self.task)
        yield update(a2a.TASK_STATE_WORKING)
        for place in range(int(request.message.parts[0].text)):
            yield chunk_of(place)
        yield update(a2a.TASK_STATE_COMPLETED)


async def bare(store: str) -> None:
    server = grpc.aio.server()
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(Bare(), server)
    await announce(server)


async def announce(server: grpc.aio.Server) -> None:
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def ours(store: str) -> None:
    from a2a_grpc import Agent, Message, Server, ServerSettings, Turn

    agent = Agent("Bench", "Does what the benchmark asks for.")

    @agent.router
    def route(message: Message) -> str:
        text = message.parts[0].text
        return text if text in ("message", "task") else "stream"

    @agent.skill("message", answers="message")
    async def answer(turn: Turn) -> str:
        return "hello"

    @agent.skill("task")
    async def task(turn: Turn) -> str:
        return "hello"

    @agent.skill("stream")
    async def stream(turn: Turn):
        for _ in range(int(turn.text)):
            yield CHUNK

    async with Server(agent, ServerSettings(listen="127.0.0.1:0", http_listen="off", store=store)) as server:
        print(server.grpc_address, flush=True)
        await asyncio.Event().wait()


async def sdk(store: str) -> None:
    from a2a.helpers import proto_helpers
    from a2a.server.agent_execution import AgentExecutor
    from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
    from a2a.server.tasks import DatabaseTaskStore, InMemoryTaskStore, TaskStore, TaskUpdater

    class Executor(AgentExecutor):
        async def execute(self, context, event_queue):
            text = context.message.parts[0].text
            if text == "message":
                await event_queue.enqueue_event(proto_helpers.new_text_message("hello", context_id=context.context_id))
                return
            await event_queue.enqueue_event(proto_helpers.new_task_from_user_message(context.message))
            updater = TaskUpdater(event_queue, context.task_id, context.context_id)
            await updater.start_work()
            for place in range(1 if text == "task" else int(text)):
                await updater.add_artifact([a2a.Part(text=CHUNK)], artifact_id="a", append=place > 0)
            await updater.complete()

        async def cancel(self, context, event_queue):
            await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

    card = a2a.AgentCard(name="Bench", capabilities=a2a.AgentCapabilities(streaming=True))
    tasks: TaskStore = InMemoryTaskStore()
    if store != "memory:":
        from sqlalchemy.ext.asyncio import create_async_engine

        tasks = DatabaseTaskStore(
            create_async_engine(
                store.replace("sqlite:", "sqlite+aiosqlite:"),
                connect_args={"timeout": 60},  # with its default it refuses writers that wait
            )
        )
        await tasks.initialize()
    handler = DefaultRequestHandler(agent_executor=Executor(), task_store=tasks, agent_card=card)
    server = grpc.aio.server()
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    await announce(server)


if __name__ == "__main__":
    asyncio.run({"bare": bare, "ours": ours, "sdk": sdk}[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "memory:"))
