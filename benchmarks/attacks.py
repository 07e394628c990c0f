"""Attack a bare grpc.aio server and ours, and print what each attack did: make attacks

    python benchmarks/attacks.py [--connections 1,40] [--seconds 5] [--only rapid_reset,half_open] [--servers bare,ours]

Each line is one attack on a fresh server with a good client: the good client's p99, its errors, and by how much the
server's memory grew. The lines are Markdown, for docs/security.md.
"""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.attacks.calls import CALLS
from tests.attacks.floods import ATTACKS
from tests.attacks.rig import Target, attack, attacked

SERVERS = {"bare": Target.bare, "ours": Target.ours}


async def figures(server: str, name: str, connections: int, seconds: float) -> str:
    async with SERVERS[server]() as target:
        program = "calls" if name in CALLS else "floods"
        going = attack(name, target, connections=connections, seconds=seconds, program=program)
        harm = await attacked(target, going)
    if not harm.is_alive:
        return "the process ended"
    errors = f"{sum(harm.errors.values())} errors of {harm.calls}" if harm.errors else "no error"
    return f"p99 {harm.p99_ms:,.0f} ms, {errors}, +{harm.grown_mib:,.0f} MiB"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", default="1,40", help="numbers of connections (default: 1,40)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each attack (default: 5)")
    parser.add_argument("--only", default=",".join((*ATTACKS, *CALLS)), help="attacks, by name (default: all)")
    parser.add_argument("--servers", default="bare,ours", help="bare, ours, or both (default: both)")
    asked = parser.parse_args()
    servers = asked.servers.split(",")
    print(f"| attack | connections | {' | '.join(servers)} |\n|---|---|{'---|' * len(servers)}")
    for connections in map(int, asked.connections.split(",")):
        for name in asked.only.split(","):
            found = [await figures(server, name, connections, asked.seconds) for server in servers]
            print(f"| {name} | {connections} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
