"""The servers that are compared, each a process of its own.

    python benchmarks/contenders.py bare|ours|sdk|proxy|sentinel [options]

Prints its address as a JSON line, then answers each line on standard input with one that tells what it uses.

All do the same work, which the text of a message names:

    message         an answer with a bare message
    task            a task that completes with one artifact
    stream N        a task that streams N appended chunks
    gated NAME N    the same, once somebody has sent `open NAME`
    open NAME       an answer with a bare message
    ticks SECONDS   a task that streams a chunk every so many seconds, until it is canceled
    ask             a task that asks, and waits
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import grpc.aio
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb import a2a_pb2_grpc

CHUNK = "x" * 20
OPTIONS = [("grpc.max_concurrent_streams", 20_000), ("grpc.so_reuseport", 0)]
PAGE = 50
ADDRESS = "bare@fame.fabric"
SERVICE = a2a.DESCRIPTOR.services_by_name["A2AService"]
BEGIN_US = time.time_ns() // 1000 - 1_000_000
gates = defaultdict(asyncio.Event)  # of bare and of the SDK's


def status(state):
    return a2a.TaskStatus(state=state)


def update(state):
    return a2a.StreamResponse(
        status_update=a2a.TaskStatusUpdateEvent(task_id="t" * 36, context_id="c" * 36, status=status(state))
    )


def chunk(append):
    update = a2a.TaskArtifactUpdateEvent(task_id="t" * 36, context_id="c" * 36, append=append)
    update.artifact.CopyFrom(a2a.Artifact(artifact_id="a" * 36, parts=[a2a.Part(text=CHUNK)]))
    return a2a.StreamResponse(artifact_update=update)


# -- bare: grpc.aio with answers that are ready


class Bare(a2a_pb2_grpc.A2AServiceServicer):
    """The ceiling: it does nothing but answer."""

    task = a2a.Task(id="t" * 36, context_id="c" * 36, status=status(a2a.TASK_STATE_COMPLETED))
    task.artifacts.add(artifact_id="a" * 36, parts=[a2a.Part(text="hello")])
    task.history.add(message_id="m" * 36, role=a2a.ROLE_USER, parts=[a2a.Part(text="task")])
    message = a2a.Message(message_id="m" * 36, context_id="c" * 36, role=a2a.ROLE_AGENT, parts=[a2a.Part(text="hello")])
    page = a2a.ListTasksResponse(tasks=[task] * PAGE, next_page_token="n" * 60, page_size=PAGE, total_size=10_000)
    first, working, done = (
        a2a.StreamResponse(task=task),
        update(a2a.TASK_STATE_WORKING),
        update(a2a.TASK_STATE_COMPLETED),
    )
    begin, more = chunk(append=False), chunk(append=True)

    async def SendMessage(self, request, context):
        verb, *rest = request.message.parts[0].text.split()
        if verb == "task":
            return a2a.SendMessageResponse(task=self.task)
        if verb == "open":
            gates[rest[0]].set()
        return a2a.SendMessageResponse(message=self.message)

    async def GetTask(self, request, context):
        return self.task

    async def ListTasks(self, request, context):
        return self.page

    async def SendStreamingMessage(self, request, context):
        async for event in self.chunks(int(request.message.parts[0].text.split()[1])):
            yield event

    async def SubscribeToTask(self, request, context):
        """Wait for a gate, then stream. The `id` of the request is "NAME N"."""
        name, count = request.id.split()
        yield self.first
        await gates[name].wait()
        for _ in range(int(count)):
            yield self.more
        yield self.done

    async def chunks(self, count):
        yield self.first
        yield self.working
        if count:
            yield self.begin
        for _ in range(count - 1):
            yield self.more
        yield self.done


async def bare(options):
    if options.traced:
        from opentelemetry.instrumentation.grpc import aio_server_interceptor

        plain, server = of_bare(), of_bare([aio_server_interceptor(tracer_provider(options.sampled))])
        port = plain.add_insecure_port("127.0.0.1:0")
        await plain.start()
        await serve(server, beside={"untraced": f"127.0.0.1:{port}"})
        return
    server = of_bare()
    if not options.attach:
        await serve(server)
        return
    from a2a_grpc.sentinel import Attachment, AttachSettings

    with tempfile.TemporaryDirectory() as folder:
        server.add_insecure_port(f"unix:{folder}/agent.sock")
        async with Attachment(AttachSettings(attach=options.attach, address=ADDRESS)) as attachment:
            attachment.serve(Path(folder, "agent.sock"))
            await attachment.welcome()
            await serve(server)


def of_bare(interceptors=()):
    server = grpc.aio.server(interceptors=interceptors, options=OPTIONS)
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(Bare(), server)
    return server


async def serve(server, **more):
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await answer(f"127.0.0.1:{port}", **more)


# -- ours


def tracer_provider(sampled):
    """Return a provider of traces as a program has it that exports them."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    class Dropping(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(sampled)))
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    return provider


def floor_agent(tracer, at_once=1):
    """Return an agent for a server without spans, whose handlers make as many spans of the SDK as a traced server has.

    The spans do nothing but exist: it is the least that a server with this SDK can pay for them. With `at_once` above
    1 the spans of so many calls are made in a loop, which is faster.
    """
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    from a2a_grpc import Agent

    call = {f"rpc.some.name.{number}": "a value of some length" for number in range(11)}
    run = {f"a2a.some.name.{number}": "a value of some length" for number in range(4)}
    agent, nowhere = Agent("Floor", "Makes spans that do nothing but exist."), Context()
    calls = []

    def make_spans(method, skill=""):
        calls.append((method, skill, time.time_ns()))
        if len(calls) < at_once:
            return
        for method, skill, begun in calls:
            tracer.start_span(method, nowhere, SpanKind.SERVER, call, start_time=begun).end(begun)
            if skill:
                tracer.start_span(f"run {skill}", nowhere, SpanKind.INTERNAL, run, start_time=begun).end(begun)
        calls.clear()

    @agent.router
    def route(message):
        return message.parts[0].text.partition(" ")[0]

    @agent.skill("message", answers="message")
    async def message(turn):
        make_spans("SendMessage")
        return "hello"

    @agent.skill("task")
    async def task(turn):
        make_spans("SendMessage", "task")
        return "hello"

    @agent.skill("stream")
    async def stream(turn):
        make_spans("SendStreamingMessage", "stream")
        for _ in range(int(turn.text.split()[1])):
            yield CHUNK

    return agent


@contextmanager
def without_opentelemetry():
    """Have servers that are made in the block find no OpenTelemetry."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("opentelemetry")}
    try:
        yield
    finally:
        sys.modules.update(hidden)


async def ours(options):
    from agent import agent

    from a2a_grpc import Server, ServerSettings
    from a2a_grpc.engine import EngineSettings
    from a2a_grpc.rpc import TransportSettings
    from a2a_grpc.server.garbage import Garbage
    from a2a_grpc.store import open_store

    store = open_store(options.store)
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", max_streams=20_000)
    many = EngineSettings(max_runs=20_000, max_queued_runs=20_000, max_ended_tasks=1_000_000)
    transport = TransportSettings(max_streams_per_connection=20_000)
    auth, token = token_authenticator() if options.jwt else ([], "")
    async with AsyncExitStack() as stack:
        beside = {}

        async def serve_beside(name, agent):
            other = Server(agent, settings, engine=many, transport=transport, store=open_store(options.store))
            beside[name] = (await stack.enter_async_context(other)).grpc_address

        if options.jwt:
            await serve_beside("unread-token", agent)
        if options.traced:
            from opentelemetry import trace

            provider = tracer_provider(options.sampled)
            with without_opentelemetry():
                await serve_beside("hidden", agent)
            await serve_beside("untraced", agent)
            await serve_beside("floor", floor_agent(provider.get_tracer("floor")))
            await serve_beside("floor, 64 at once", floor_agent(provider.get_tracer("floor"), 64))
            trace.set_tracer_provider(provider)  # a server looks for one when it is made, so these have no spans
        server = Server(agent, settings, engine=many, transport=transport, store=store, auth=auth)
        await stack.enter_async_context(server)
        await fill(store, options.tasks)
        garbage = Garbage(lambda: server.is_idle)  # as `serve` does
        garbage.start()
        await answer(server.grpc_address, token=token, beside=beside)
        garbage.stop()


def token_authenticator():
    """Return an authenticator of tokens, whose keys are in a file, and a token for it."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    from a2a_grpc.auth.jwt import Jwt

    key = rsa.generate_private_key(65537, 2048)
    public = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k1"}
    public.pop("key_ops", None)
    path = Path(tempfile.mkdtemp()) / "keys.json"
    path.write_text(json.dumps({"keys": [public]}))
    claims = {"iss": "https://idp.example", "aud": "bench", "sub": "ann", "exp": int(time.time()) + 86_400}
    token = jwt.encode(claims, key, "RS256", {"kid": "k1"})
    return [Jwt("https://idp.example", ["bench"], jwks_file=path)], token


async def fill(store, count):
    """Completed tasks of the caller without a name, many at a time."""
    from a2a_grpc.lifecycle import COMPLETED
    from a2a_grpc.store import Create, Record, TaskKey

    for begin in range(0, count, 500):
        tasks = [stored(number) for number in range(begin, min(begin + 500, count))]
        events = [a2a.StreamResponse(task=task).SerializeToString() for task in tasks]
        records = [
            Record(1, event, COMPLETED, 1, task.status.timestamp.ToMicroseconds())
            for task, event in zip(tasks, events, strict=True)
        ]
        await asyncio.gather(
            *(
                store.write(Create(TaskKey("", "", task.id), record, task.context_id, ""))
                for task, record in zip(tasks, records, strict=True)
            )
        )


def stored(number):
    task = a2a.Task(id=f"{number:036}", context_id="c" * 36, status=status(a2a.TASK_STATE_COMPLETED))
    task.status.timestamp.FromMicroseconds(BEGIN_US + number)
    task.artifacts.add(artifact_id="a" * 36, parts=[a2a.Part(text="hello")])
    task.history.add(message_id="m" * 36, role=a2a.ROLE_USER, parts=[a2a.Part(text="task")])
    return task


# -- what stands before a bare server, which is a process of its own


class Plain(grpc.GenericRpcHandler):
    """A plain proxy: it passes on metadata, bytes and statuses, and limits nothing."""

    def __init__(self, channel):
        self.channel = channel

    def service(self, call):
        name = call.method.rpartition("/")[2]
        if SERVICE.methods_by_name[name].server_streaming:
            method = self.channel.unary_stream(call.method)

            async def streamed(request, context):
                async for element in method(request, metadata=passed(context)):
                    yield element

            return grpc.unary_stream_rpc_method_handler(streamed)
        method = self.channel.unary_unary(call.method)

        async def single(request, context):
            return await method(request, metadata=passed(context))

        return grpc.unary_unary_rpc_method_handler(single)


def passed(context):
    return [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]


async def proxy(options):
    async with behind() as address:
        async with grpc.aio.insecure_channel(address) as channel:
            server = grpc.aio.server(options=OPTIONS)
            server.add_generic_rpc_handlers((Plain(channel),))
            await serve(server)


async def sentinel(options):
    from a2a_grpc.sentinel import Sentinel, SentinelSettings

    async with Sentinel(SentinelSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0)) as running:
        async with behind(f"--attach={running.address}"):
            await answer(running.address, tenant=ADDRESS)


@asynccontextmanager
async def behind(*options):
    """Start a bare server in a process of its own, and give its address. It ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "bare", *options, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield json.loads(await process.stdout.readline())["address"]
    process.stdin.close()
    await process.wait()


# -- the official SDK


async def sdk(options):
    from a2a.helpers import proto_helpers
    from a2a.server.agent_execution import AgentExecutor
    from a2a.server.context import ServerCallContext
    from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
    from a2a.server.tasks import DatabaseTaskStore, InMemoryTaskStore, TaskUpdater

    class Executor(AgentExecutor):
        async def execute(self, context, event_queue):
            verb, *rest = context.message.parts[0].text.split()
            if verb in ("message", "open"):
                if verb == "open":
                    gates[rest[0]].set()
                await event_queue.enqueue_event(proto_helpers.new_text_message("hello", context_id=context.context_id))
                return
            await event_queue.enqueue_event(proto_helpers.new_task_from_user_message(context.message))
            updater = TaskUpdater(event_queue, context.task_id, context.context_id)
            if verb == "ask":
                await updater.requires_input(updater.new_agent_message([a2a.Part(text="Which one?")]))
                return
            await updater.start_work()
            if verb == "gated":
                await gates[rest[0]].wait()
            place = 0
            while verb == "ticks" or place < (1 if verb == "task" else int(rest[-1])):
                if verb == "ticks":
                    await asyncio.sleep(float(rest[0]))
                await updater.add_artifact([a2a.Part(text=CHUNK)], artifact_id="a", append=place > 0)
                place += 1
            await updater.complete()

        async def cancel(self, context, event_queue):
            await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

    card = a2a.AgentCard(name="Bench", capabilities=a2a.AgentCapabilities(streaming=True))
    tasks = InMemoryTaskStore()
    if options.store != "memory:":
        from sqlalchemy.ext.asyncio import create_async_engine

        url = options.store.replace("sqlite:", "sqlite+aiosqlite:")
        tasks = DatabaseTaskStore(create_async_engine(url, connect_args={"timeout": 60}))  # else writers are refused
        await tasks.initialize()
    for number in range(options.tasks):
        await tasks.save(stored(number), ServerCallContext())
    handler = DefaultRequestHandler(agent_executor=Executor(), task_store=tasks, agent_card=card)
    server = grpc.aio.server(options=OPTIONS)
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    await serve(server)


# -- what each tells


async def answer(address, **more):
    """Print the address, then for each line of the input what the process uses. End with the input."""
    tell(address=address, **more)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        tell(**usage())


def usage():
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": spent.ru_utime + spent.ru_stime,
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "asyncio_tasks": len(asyncio.all_tasks()),
    }


def tell(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("bare", "ours", "sdk", "proxy", "sentinel"))
    parser.add_argument("--store", default="memory:", metavar="URL", help="default: %(default)s")
    parser.add_argument("--tasks", type=int, default=0, help="how many ended tasks there are to begin with")
    parser.add_argument(
        "--jwt", action="store_true", help="callers with tokens, and a second server that does not read them"
    )
    parser.add_argument("--attach", metavar="HOST:PORT", help="the sentinel to which a bare server attaches")
    parser.add_argument("--uvloop", action="store_true", help="another event loop")
    parser.add_argument("--traced", action="store_true", help="spans, with a batch processor whose exporter drops them")
    parser.add_argument(
        "--sampled", type=float, default=1.0, metavar="PART", help="the part of traces that is recorded"
    )
    options = parser.parse_args()
    run = asyncio.run
    if options.uvloop:
        import uvloop

        run = uvloop.run
    kinds = {"bare": bare, "ours": ours, "sdk": sdk, "proxy": proxy, "sentinel": sentinel}
    run(kinds[options.kind](options))


if __name__ == "__main__":
    main()
