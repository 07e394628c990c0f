"""The registry of a sentinel: its agents, and the addresses at which clients call them.

entry       an entry, what is looked for, and the place of an entry in a list
words       what of a card can be looked for
pages       the pages of a list, and their tokens
rivals      which of several entries with one name stays
wire        the messages of the registry's gRPC service

Stores of entries:

protocol    the store of entries
open        stores by their URLs
memory      entries in memory
wordlist    their words
sql         entries in SQLite or PostgreSQL
schema      the tables of such a database
statements  the transactions on them
queries     what is looked for
"""

from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search
from a2a_grpc.registry.open import open_entries
from a2a_grpc.registry.protocol import EntryStore, OccupiedError, ReplacedError

__all__ = ["Entry", "EntryStore", "Found", "Key", "OccupiedError", "Place", "ReplacedError", "Search", "open_entries"]
