"""servers/replicas/: three replicas on one PostgreSQL behind a load balancer, as a user runs them."""

import re

import pytest

from tests.harness import run_program
from tests.tools import MissingProgram, find, need, packaged_postgres, skip_without

DEMO = "servers/replicas/demo.py"


async def streams_through(*options: str) -> None:
    """Runs the demo: the stream has to come to its end, however the replicas end."""
    exit_code, out, err = await run_program(
        DEMO, "--to=120", "--step-seconds=0.1", "--lease-s=5", *options, timeout_s=390
    )
    assert exit_code == 0, out + err
    assert "Traceback" not in err
    lines = out.splitlines()
    killed = [re.match(r"  kill -9 replica (\d), which (?:counts|does not count), at \d+$", line) for line in lines]
    assert [found[1] for found in killed if found] == ["1", "2", "3"]
    assert [line for line in lines if line.endswith("is back")] == [f"  replica {it} is back" for it in (1, 2, 3)]
    ends = [line for line in lines if line.startswith("COMPLETED")]  # the last replica may come back after it
    assert len(ends) == 1
    assert re.fullmatch(r"COMPLETED: counted to 120 in \d attempts; 120 numbers seen", ends[0])
    assert lines[-1] == "no number is missing, none came twice"


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.first
async def test_a_stream_goes_on_through_haproxy_while_each_replica_is_killed() -> None:
    """With a PostgreSQL that the demo starts itself."""
    need("haproxy", "initdb")
    if find("initdb", "postgresql") == packaged_postgres("initdb"):  # the demo knows those of the system
        skip_without(MissingProgram("initdb", "apt-get install postgresql"))
    await streams_through()


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.first
async def test_a_stream_goes_on_through_nginx_while_each_replica_is_killed(postgres_url: str) -> None:
    need("nginx")
    await streams_through("--balancer=nginx", f"--store={postgres_url}")


async def test_the_demo_explains_itself() -> None:
    exit_code, out, err = await run_program(DEMO, "--help")
    assert (exit_code, err) == (0, "")
    assert {"--store", "--balancer"} <= set(re.findall(r"--\w+", out))


async def test_without_a_balancer_the_demo_says_what_to_install() -> None:
    """Where a program is looked for is not only PATH: a name that is nowhere stands for one that is not installed."""
    code = (
        "import shutil, sys; sys.path.insert(0, 'servers/replicas'); sys.argv[0] = 'demo.py'\n"
        "which = shutil.which; shutil.which = lambda name, *more, **words: "
        "None if name == 'haproxy' else which(name, *more, **words)\n"
        "import demo; demo.main()"
    )
    exit_code, _, err = await run_program("-c", code)
    assert (exit_code, err) == (
        1,
        "Error: there is no 'haproxy' here; install it, or give --balancer haproxy or nginx\n",
    )
