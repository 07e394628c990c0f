"""An agent whose every string is hostile, and every number as far as it goes; and what reached the terminal of it."""

import json
import re
import sys
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import json_format, struct_pb2, timestamp_pb2
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message as ProtobufMessage
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.protocol import STATUS_DETAILS
from a2a_grpc.wire import AgentCard, Artifact, Part, Task, TaskState
from tests.cli.terminal import running
from tests.client.peers import ANSWERS, Failure, Peer

CONTROLS = (
    "\x1b]0;title\x07"  # the title of the window
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\"
    "\x1b[5;44m\x1b[2J\x1b[1;1H"
    "\x9b31m\x9d0;title\x9c\x90DCS\x9c\x1bPq\x1b\\"  # CSI, OSC and DCS, as C1 and as escapes
    "\x00\x07\x08\x7f\x0b\x0c\rback\x85"
    "\u202eesrever\u202c\u2066\u2069\u200e\u200f\u061c"
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u2061\U000e0041\U000e007f\U000e0101\ufe00"
    "\u2028\u2029\ufff9\u3164"
)
MARKUP = "[bold]loud[/bold] [link=http://evil.example]here[/link] [/] :warning:"
FORGED = "FORGED"
EVIL = f"evil{CONTROLS}{MARKUP}\n{FORGED} line\r\n{FORGED} line\r{FORGED} line\u2028{FORGED} line\x85{FORGED} line"
CONTENT = f"evil{CONTROLS}{MARKUP}\nsecond line"
"""Contents may have lines of their own."""
ASKED = "t-1"
"""The id of the task that the commands name."""
LONG = "long" * 25_000

M = TypeVar("M", bound=ProtobufMessage)

SEQUENCES = re.compile(
    r"\x1b\[(?:0|1|2|31|32|33|35|36|1;31|1;32|1;35|(?:1;)?38;5;\d+)?m"  # styles of ours
    r"|\x1b\[(?:\?25[lh]|2K|1A)|\r(?=\x1b\[(?:2K|1A))"  # rich's, around something that moves
)


def filled(message: M, *, is_wild: bool = True, depth: int = 0) -> M:
    """The message, with every field set: texts hostile; if wild, times out of range, numbers that JSON has not."""
    if isinstance(message, struct_pb2.Struct):
        message.update({EVIL: [EVIL, 1e308, None, {EVIL: EVIL}]})
    elif isinstance(message, timestamp_pb2.Timestamp):
        message.seconds = -(2**63) if is_wild else 1
    else:
        for field in message.DESCRIPTOR.fields:
            if depth < 6:
                _fill(message, field, is_wild, depth)
    return message


def _fill(message: ProtobufMessage, field: Any, is_wild: bool, depth: int) -> None:
    if field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
        return
    kind: Descriptor | None = field.message_type
    place = getattr(message, field.name)
    if kind is not None and kind.GetOptions().map_entry:
        if kind.fields_by_name["value"].message_type is not None:
            filled(place[EVIL], is_wild=is_wild, depth=depth + 1)
        else:
            place[EVIL] = EVIL
    elif kind is not None:
        if not field.is_repeated:
            place.SetInParent()
        filled(place.add() if field.is_repeated else place, is_wild=is_wild, depth=depth + 1)
    else:
        value = _value(field, is_wild)
        if field.is_repeated:
            place.append(value)
        else:
            setattr(message, field.name, value)


def _value(field: Any, is_wild: bool) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return EVIL.encode() if field.type == FieldDescriptor.TYPE_BYTES else EVIL
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_ENUM:
            return 99
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return float("inf") if is_wild else 1e308
    return 2**31 - 1


def hostile_task(state: TaskState, *, is_wild: bool = False) -> Task:
    """A task of this state, otherwise hostile: its artifact has a text, data, a file and an address."""
    task = filled(Task(), is_wild=is_wild)
    task.status.state = state
    artifact = task.artifacts[0]
    artifact.parts[0].text = CONTENT
    for part in (Part(raw=b"x"), Part(url=EVIL), Part(data=struct_pb2.Value(string_value=EVIL))):
        part.filename, part.media_type = EVIL, EVIL
        artifact.parts.append(part)
    named = Artifact(artifact_id=EVIL + "2", name=EVIL, parts=[Part(raw=b"x")])
    task.artifacts.append(named)
    return task


def hostile_answers(task: Task) -> dict[str, Any]:
    """What a hostile agent answers to each RPC."""
    answers: dict[str, Any] = {rpc: filled(type(answer)(), is_wild=False) for rpc, answer in ANSWERS.items()}
    for rpc in ("SendMessage", "SendStreamingMessage", "SubscribeToTask"):
        answers[rpc].task.CopyFrom(task)
    asked = Task()
    asked.CopyFrom(task)
    asked.id = answers["SubscribeToTask"].task.id = ASKED  # that of another task would be refused
    answers["GetTask"] = answers["CancelTask"] = asked
    answers["ListTasks"].tasks[0].CopyFrom(task)
    for rpc in ("ListTasks", "ListTaskPushNotificationConfigs"):
        answers[rpc].next_page_token = ""
    return answers


def hostile_failure(code: grpc.StatusCode, *, reason: str = EVIL) -> Failure:
    """A status whose text, details and trailers are hostile."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="a2a-protocol.org", metadata={EVIL: EVIL})
    details = [info, filled(error_details_pb2.BadRequest()), filled(error_details_pb2.RetryInfo()),
               filled(error_details_pb2.Help()), filled(error_details_pb2.LocalizedMessage())]  # fmt: skip
    status = Status(code=code.value[0], message=EVIL)
    for detail in details:
        status.details.add().Pack(detail)
    status.details.append(Packed(type_url=EVIL, value=b"\xff"))
    trailers = ((STATUS_DETAILS, status.SerializeToString()), ("x-evil-bin", EVIL.encode()), ("x-evil", "evil"))
    return Failure(code, EVIL, trailers)


class _Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def Check(self, request: Any, context: Any) -> Any:
        if failure := self._peer.always:
            await context.abort(failure.code, failure.text, failure.trailers)
        return health_pb2.HealthCheckResponse(status=99)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield await self.Check(request, context)


class _Reflection(reflection_pb2_grpc.ServerReflectionServicer):  # type: ignore[misc]
    async def ServerReflectionInfo(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for _ in requests:
            services = reflection_pb2.ListServiceResponse(service=[reflection_pb2.ServiceResponse(name=EVIL)])
            yield reflection_pb2.ServerReflectionResponse(list_services_response=services)


@asynccontextmanager
async def hostile_agent(task: Task | None = None, *, failure: Failure | None = None) -> AsyncIterator[Peer]:
    """The hostile agent on a free port, with health and reflection as hostile; with `failure` no call succeeds."""
    peer = Peer(answers=hostile_answers(task or hostile_task(COMPLETED)), always=failure)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((peer.handlers(),))
    health_pb2_grpc.add_HealthServicer_to_server(_Health(peer), server)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection(), server)
    peer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield peer
    finally:
        await server.stop(None)


def hostile_card(**members: Any) -> bytes:
    """A card of valid JSON, with every string hostile; `members` replace."""
    card = json_format.MessageToDict(filled(AgentCard(), is_wild=False))
    return json.dumps({**card, **members}).encode()


@dataclass(frozen=True, slots=True)
class Ran:
    """One of many commands, and what it wrote."""

    arguments: Sequence[str]
    out: str
    code: str


async def run_many(
    commands: Sequence[Sequence[str]], *, terminal: bool, env: dict[str, str] | None = None
) -> list[Ran]:
    """Each command in turn, in one process; both outputs are one: a terminal, or a pipe."""
    program = (sys.executable, "-m", "tests.cli.many")
    async with running(stdin=json.dumps(commands), terminal=terminal, env=env, program=program) as many:
        done = await many.finished(120)
    text = done.out.replace("\r\n", "\n")
    pieces = re.split(r"\n=== (?:\d+)\n", text)[1:]
    assert len(pieces) == len(commands), text[-3000:]
    ended = [piece.rpartition("\n=== exit ") for piece in pieces]
    return [Ran(command, out, code.strip()) for command, (out, _, code) in zip(commands, ended, strict=True)]


def harm(shown: str) -> list[str]:
    """What a terminal was sent that is neither text nor ours."""
    text = SEQUENCES.sub("", shown)
    found = [character for character in text if is_harmful(character)]
    forged = [line for line in text.splitlines() if line.startswith(FORGED)]
    overlong = [line[:100] for line in text.split("\n") if len(line) > 10_000 and not line.startswith("{")]
    return [repr(character) for character in found] + forged + overlong


def is_harmful(character: str) -> bool:
    """Whether a terminal does something else with a character than show it; by Unicode's own tables."""
    if character in "\n\t":
        return False
    number = ord(character)
    is_visible_format = number in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)
    hides = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and not is_visible_format
    return hides or number in range(0xFE00, 0xFE0E) or number in range(0xE0000, 0xE1000) or character in "\u3164\u034f"
