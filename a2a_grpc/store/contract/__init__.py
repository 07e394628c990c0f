"""The tests that each task store has to pass. They need pytest, and pytest-asyncio in its automatic mode.

records       keeping tasks
lists         lists of tasks, and their retention
coordination  claims and leases
mailbox       messages that wait, requests to cancel, idempotency keys
notes         named values that handlers keep
outbox        push configs
given         the tasks, records and messages of these tests
"""

from a2a_grpc.store.contract.coordination import CoordinationContract
from a2a_grpc.store.contract.mailbox import MailboxContract
from a2a_grpc.store.contract.notes import NotesContract
from a2a_grpc.store.contract.outbox import OutboxContract
from a2a_grpc.store.contract.records import RecordsContract


class StoreContract(RecordsContract, CoordinationContract, MailboxContract, NotesContract):
    """The tests that each task store has to pass. Each test is one guarantee of `TaskStore`.

    Make a subclass with a fixture `store`, which gives each test a store that is open and empty. Run it with pytest.

    Example:
        class TestMyStore(StoreContract):
            @pytest.fixture
            async def store(self):
                store = MyStore()
                await store.open()
                yield store
                await store.close()
    """


__all__ = [
    "CoordinationContract",
    "MailboxContract",
    "NotesContract",
    "OutboxContract",
    "RecordsContract",
    "StoreContract",
]
