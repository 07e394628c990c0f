"""Registers a contract that has one field more, under the file name of the command line, then uses this package beside
it; prints what came of it as JSON."""

import asyncio
import importlib
import json
import pickle
import sys
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from tests.interop.contract import ours

EXTRA = 4711


def register(name: str) -> dict[str, type[Any]]:
    """The classes of a contract whose Task has the string `extra`."""
    file = FileDescriptorProto.FromString(ours())
    file.name = name
    task = next(message for message in file.message_type if message.name == "Task")
    task.field.add(
        name="extra",
        json_name="extra",
        number=EXTRA,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    for dependency in file.dependency:
        importlib.import_module(dependency.removesuffix(".proto").replace("/", ".") + "_pb2")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    registered = pool.FindFileByName(name)
    return {
        message: message_factory.GetMessageClass(descriptor)
        for message, descriptor in registered.message_types_by_name.items()
    }


async def main(name: str) -> None:
    registered = register(name)

    import a2a_grpc
    from a2a_grpc import wire
    from a2a_grpc.parts import text_of
    from tests.harness import elements, event_state, scripted, scripted_agent, serving

    task: Any = wire.Task(
        id="t-1",
        status=wire.TaskStatus(state=wire.TaskState.TASK_STATE_WORKING),
        history=[wire.Message(message_id="m-1", role=wire.ROLE_USER, parts=[wire.Part(text="hello")])],
    )
    task.extra = "from the other contract"
    read: Any = wire.Task.FromString(task.SerializeToString())
    copy = pickle.loads(pickle.dumps(task))
    is_task = type(copy) is wire.Task
    async with serving(scripted_agent()) as served:
        answer = await served.send(scripted({"artifact": {"text": "done"}}))
        streamed = await elements(served.stream(scripted({"status": "half way"})))
    print(
        json.dumps(
            {
                "same": all(getattr(wire, name) is cls for name, cls in registered.items() if hasattr(wire, name)),
                "in_wire": sum(hasattr(wire, name) for name in registered),
                "one_task": a2a_grpc.Task is registered["Task"],
                "read": read == task and read.extra,
                "pickled": is_task and copy == task and copy.extra,
                "state": wire.TaskState.Name(read.status.state),
                "role": wire.ROLE_USER,
                "service": wire.SERVICE_NAME,
                "sent": [wire.TaskState.Name(answer.task.status.state), text_of(answer.task.artifacts[0])],
                "streamed": [wire.TaskState.Name(event_state(element)) for element in streamed],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
