"""P20: messages can be pickled and copied."""

import pickle

import pytest
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.wire import SERVICE
from tests.covers import covers
from tests.harness import message, run_program
from tests.regressions.picklable import check, examples

pytestmark = covers("P20")

CLASSES = len(SERVICE.file.message_types_by_name)


@pytest.mark.parametrize("example", examples(), ids=lambda example: str(example.DESCRIPTOR.name))
def test_a_message_of_every_class_pickles_and_deep_copies(example: ProtobufMessage) -> None:
    check(example)


@pytest.mark.parametrize("first", ["sdk", "ours"])
async def test_every_class_pickles_beside_the_official_sdk_whichever_is_imported_first(first: str) -> None:
    assert await run_program("-m", "tests.regressions.picklable", first) == (0, f"{CLASSES}\n", "")


async def test_a_pickle_is_read_by_a_process_that_has_imported_nothing() -> None:
    pickled = pickle.dumps(message("carried over"))
    code = f"import pickle; print(pickle.loads(bytes.fromhex('{pickled.hex()}')).parts[0].text)"
    assert await run_program("-c", code) == (0, "carried over\n", "")
