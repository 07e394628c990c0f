"""What a client shows of itself with each call."""

from a2a_grpc.client.connection import Connection, Link
from a2a_grpc.client.credentials import Credentials, entries_of, refuse
from a2a_grpc.client.security import Given, all_of, chosen
from a2a_grpc.config import ConfigurationError


class Identity:
    """Chooses the credentials for one agent, and gives their entries of metadata.

    Guarantees:

    - Credentials go over TLS, or to this machine. For any other connection an error is raised, and nothing is sent.
    - If the agent has a card with requirements, the credentials are those for the first requirement that they meet.
    """

    def __init__(self, connection: Connection, given: Given | None) -> None:
        self._connection = connection
        self._given = given
        self._chosen: list[Credentials] | None = None

    @property
    def is_given(self) -> bool:
        """True if the client has credentials."""
        return bool(all_of(self._given))

    async def entries(self, link: Link) -> list[tuple[str, str]]:
        """Return the entries of metadata for one call, with names in small letters.

        Raise ConfigurationError if they must not be sent, or do not meet what the card asks for. Raise what the
        credentials raise.
        """
        if not self.is_given:
            return []
        check_privacy(link, self._connection.target)
        if self._chosen is None:
            self._chosen = self._choose(link)
        return list((await entries_of(self._chosen)).items())

    def refused(self, entries: list[tuple[str, str]]) -> None:
        """Record that the agent has refused a call with these entries of metadata."""
        refuse(self._chosen or (), (value for _, value in entries))

    def _choose(self, link: Link) -> list[Credentials]:
        assert self._given is not None
        settings = self._connection.settings
        if link.card is None:
            return all_of(self._given)
        return chosen(
            link.card,
            self._given,
            source=self._connection.target,
            host=self._connection.card_host,
            any_host=settings.any_card_host,
            has_certificate=bool(settings.client_cert) and link.tls,
        )


def check_privacy(link: Link, target: str) -> None:
    """Raise ConfigurationError if credentials would leave this machine in plaintext."""
    if not link.tls and not link.address.is_local:
        raise ConfigurationError(
            f"the credentials are not sent to '{target}', since {link.address} is called in plaintext. Call it with "
            f"TLS (grpcs://{link.address}, without plaintext), or through a proxy on this machine"
        )
