"""The ids that are made here: random UUIDs, never the same twice."""

import os
import subprocess
import sys
import threading
import uuid

import pytest

from a2a_grpc.ids import new_id


def test_an_id_is_a_random_uuid_as_it_is_usually_written() -> None:
    for made in (new_id() for _ in range(1000)):
        read = uuid.UUID(made)
        assert (str(read), read.version, read.variant) == (made, 4, uuid.RFC_4122)


def test_threads_never_get_the_same_id() -> None:
    made: list[str] = []

    def make() -> None:
        made.extend([new_id() for _ in range(5000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == len(made) == 40_000


FORKED = """
import os
from a2a_grpc.ids import new_id

new_id()  # now some are drawn
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, new_id().encode())
    os._exit(0)
os.wait()
print(new_id(), os.read(read, 100).decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_gets_other_ids_than_its_parent() -> None:
    out = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=60).stdout
    mine, theirs = out.split()
    assert mine != theirs
