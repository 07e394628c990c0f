"""The metadata that a client sends with each call."""

from collections.abc import Sequence
from typing import TypeAlias

from a2a_grpc.client.connection import Connection
from a2a_grpc.client.credentials import AUTHORIZATION, check_entry
from a2a_grpc.client.identity import Identity, check_privacy
from a2a_grpc.protocol import PROTOCOL_VERSION, Key

Metadata: TypeAlias = Sequence[tuple[str, str]]
"""gRPC metadata: pairs of a name and a value. Names are in small letters."""


class Headers:
    """Merges the metadata of the caller, the client and the protocol. An entry of the caller is never overwritten."""

    def __init__(
        self, connection: Connection, identity: Identity, metadata: Metadata = (), extensions: Sequence[str] = ()
    ) -> None:
        self._connection = connection
        self._identity = identity
        self._metadata = metadata
        self._extensions = extensions

    @property
    def names(self) -> frozenset[str]:
        """The names of the entries that the client sends with each call."""
        return frozenset(key.lower() for key, _ in self._metadata)

    async def merged(self, metadata: Metadata = ()) -> list[tuple[str, str]]:
        """Return the metadata of one call. The caller's entries come first, then the client's, then the defaults."""
        entries = [(key.lower(), value) for key, value in (*metadata, *self._metadata)]
        given = {key for key, _ in entries}
        if Key.VERSION not in given:
            entries.append((Key.VERSION, PROTOCOL_VERSION))
        if self._extensions:  # one entry (META-3), with what the caller asks for as well
            asked = [value for key, value in entries if key == Key.EXTENSIONS]
            entries = [entry for entry in entries if entry[0] != Key.EXTENSIONS]
            entries.append((Key.EXTENSIONS, ",".join((*asked, *self._extensions))))
        link = await self._connection.open()
        if AUTHORIZATION in given:
            check_privacy(link, self._connection.target)
        entries += [(key, secret) for key, secret in await self._identity.entries(link) if key not in given]
        for key, value in entries:
            check_entry(key, value)
        return entries

    async def renewed(self, sent: list[tuple[str, str]], metadata: Metadata = ()) -> list[tuple[str, str]] | None:
        """Return the metadata of a call that the agent has refused with UNAUTHENTICATED, with other credentials.

        `sent` is what was refused. Return None if the credentials are the same as before, and the certificate too: the
        agent would refuse them again.
        """
        self._identity.refused(sent)
        fresh = await self.merged(metadata)
        link = await self._connection.open()
        return None if fresh == sent and not link.pool.has_former_certificates() else fresh
