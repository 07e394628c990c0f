"""The tables of a registry in a database. All entries are under leases, so a table of a former version is made new."""

from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, Integer, MetaData, Table, inspect, text
from sqlalchemy.schema import CreateSchema

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.columns import Exact, blob_type, digest_type, text_type

VERSION = 5
"""The version of the tables, which is larger for each change of them."""
LOCK = text("SELECT pg_advisory_xact_lock(4202025002)")
"""What keeps other processes out on PostgreSQL, until the transaction ends."""

metadata = MetaData()

agent = Table(
    "a2a_registry_agent",
    metadata,
    # `Key.digest`: of the owner and the three columns of the key.
    Column("id", digest_type(16), primary_key=True),
    # The key: the name of the agent, its process, and the sentinel that it is attached to, if any.
    Column("name", Exact, nullable=False),
    Column("instance", Exact, nullable=False),
    Column("sentinel", Exact, nullable=False),
    # The owner of the principal that has added the entry.
    Column("owner", Exact, nullable=False),
    # The end of the lease, by the database's clock. No index has it, so that a renewal is cheap.
    Column("until_us", BigInteger, nullable=False),
    # The time at which an attached agent attached, by the database's clock.
    Column("since_us", BigInteger, nullable=False),
    # The address at which clients call the agent, and the tenant of their requests.
    Column("url", text_type(), nullable=False),
    Column("tenant", Exact, nullable=False),
    # A name for the task store of an attached agent.
    Column("store", Exact, nullable=False),
    # True if an attached agent replaces the others at its address.
    Column("replaces", Boolean, nullable=False),
    # What can be looked for: ids of skills, and tags, each with a line end before and after it.
    Column("skills", text_type(), nullable=False),
    Column("tags", text_type(), nullable=False),
    Index("a2a_registry_agent_name", "name", "instance", "sentinel"),
)

card = Table(
    "a2a_registry_card",
    metadata,
    # The entry, whose row is renewed often: so its card has a row of its own.
    Column("id", digest_type(16), primary_key=True),
    # A serialised AgentCard.
    Column("card", blob_type(), nullable=False),
    # The card in JSON, as an attached agent has sent it; empty if it is not known.
    Column("body", blob_type(), nullable=False),
)

secret = Table(
    "a2a_registry_secret",
    metadata,
    # What the sentinels of the store share, and no other program has.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("secret", blob_type(), nullable=False),
)

word = Table(
    "a2a_registry_word",
    metadata,
    # A word of a card, in small letters, of at most 64 characters.
    Column("word", Exact, primary_key=True),
    # The entry that has the word.
    Column("id", digest_type(16), primary_key=True),
    Index("a2a_registry_word_id", "id"),
)

clock = Table(
    "a2a_registry_clock",
    metadata,
    # SQLite's only: see `a2a_grpc.database.clock`.
    Column("boot", Exact, primary_key=True),
    Column("offset_us", BigInteger, nullable=False),
)

version = Table(
    "a2a_registry_version",
    metadata,
    # The version of the tables.
    Column("version", Integer, primary_key=True, autoincrement=False),
)


def make_tables(connection: Connection, shown: str, schema: str) -> None:
    """Make the tables that are missing or of a former version.

    Args:
        connection: A connection in a transaction that writes.
        shown: The URL of the database, for errors.
        schema: The schema of PostgreSQL that has the tables; empty for the first one of the user's search path.

    Raises:
        ConfigurationError: The tables are those of a newer version.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(LOCK)
        if schema and not inspect(connection).has_schema(schema):
            connection.execute(CreateSchema(schema))
    found: int | None = None
    if inspect(connection).has_table(version.name):
        found = connection.scalars(version.select()).first()
    if found == VERSION:
        return
    if found is not None and found > VERSION:
        raise ConfigurationError(
            f"store is '{shown}'; its registry has version {found}, which is newer than this version of a2a-grpc knows "
            f"({VERSION}); install a newer version"
        )
    metadata.drop_all(connection)
    metadata.create_all(connection)
    connection.execute(version.insert().values(version=VERSION))
