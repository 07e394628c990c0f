"""A bare grpc.aio server with defaults, to compare with: python -m tests.attacks.bare

It answers sends, reads and subscriptions with a small task. Events are JSON lines, as those of `serve`.
"""

import asyncio
import json
import sys
from typing import Any

import grpc.aio
from a2a_grpc_pb import a2a_pb2_grpc

from a2a_grpc.wire import ListTasksResponse, SendMessageResponse, StreamResponse, Task, TaskState, TaskStatus

TASK = Task(id="t-1", context_id="c-1", status=TaskStatus(state=TaskState.TASK_STATE_COMPLETED))


class Bare(a2a_pb2_grpc.A2AServiceServicer):  # type: ignore[misc]
    """Does nothing but answer."""

    async def SendMessage(self, request: Any, context: Any) -> SendMessageResponse:
        return SendMessageResponse(task=TASK)

    async def GetTask(self, request: Any, context: Any) -> Task:
        return TASK

    async def ListTasks(self, request: Any, context: Any) -> ListTasksResponse:
        return ListTasksResponse(tasks=[TASK], total_size=1, page_size=1)

    async def SubscribeToTask(self, request: Any, context: Any) -> None:
        await context.write(StreamResponse(task=TASK))
        await asyncio.Event().wait()

    async def SendStreamingMessage(self, request: Any, context: Any) -> None:
        await context.write(StreamResponse(task=TASK))


async def main() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(Bare(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "ready", "grpc": f"127.0.0.1:{port}"}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent closes it
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
