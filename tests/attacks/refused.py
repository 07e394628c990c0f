"""How much memory refused requests leave behind without a garbage collector: python -m tests.attacks.refused COUNT

Server and client share the process, so that no other request comes between. Ends with a JSON line: MiB by kind of
refusal.
"""

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

from a2a_grpc.wire import SendMessageRequest
from tests.harness import V1, message, refusal, request, scripted_agent, serving

MiB = 1 << 20
CONTENT = "x" * (4 * MiB - 4096)


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MiB


async def main(count: int) -> None:
    kinds: dict[str, tuple[SendMessageRequest, tuple[tuple[str, str], ...]]] = {
        "invalid": (request(message(CONTENT, message_id="")), V1),
        "unknown task": (request(message(CONTENT, task_id="unknown")), V1),
        "version": (request(message(CONTENT)), (("a2a-version", "9.0"),)),
    }
    grown: dict[str, float] = {}
    async with serving(scripted_agent()) as served:
        for kind, (refused, metadata) in kinds.items():
            for method in (served.stub.SendMessage, served.stub.SendStreamingMessage):
                await refusal(method(refused, metadata=metadata))
                gc.collect()
                gc.disable()
                before = rss_mib()
                for _ in range(count):
                    await refusal(method(refused, metadata=metadata))
                grown[kind] = max(grown.get(kind, 0.0), round(rss_mib() - before, 1))
                gc.enable()
    print(json.dumps(grown))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
