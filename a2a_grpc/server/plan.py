"""What a server is made of: the arguments of `Server`, with their defaults, checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio

from a2a_grpc.agent import Agent, build_card, check_agent
from a2a_grpc.auth import Authenticator
from a2a_grpc.auth.callers import Callers
from a2a_grpc.auth.described import secure
from a2a_grpc.auth.protocol import Vouching
from a2a_grpc.auth.settings import AuthSettings
from a2a_grpc.config import ConfigurationError
from a2a_grpc.engine import EngineSettings
from a2a_grpc.listening.settings import check_credentials_are_encrypted
from a2a_grpc.masking import mask_url
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server.limits import check_limits_fit
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.preconditions import check_scopes, check_store
from a2a_grpc.server.pushing import problem
from a2a_grpc.server.settings import RequestLimits, ServerSettings
from a2a_grpc.store import TaskStore
from a2a_grpc.wire import AgentCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The arguments of `Server`, which describes them.

    Raises:
        TypeError: `agent` is not an `Agent`, `store` is no store, or only one of `private_socket` and
            `private_callers` is given.
        ConfigurationError: Settings do not fit each other, or the agent needs what the settings do not offer.
    """

    agent: Agent
    settings: ServerSettings = field(default_factory=ServerSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    limits: RequestLimits = field(default_factory=RequestLimits)
    store: TaskStore | None = None
    interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
    auth: Sequence[Authenticator] = ()
    authorize: Authorize | None = None
    auth_settings: AuthSettings = field(default_factory=AuthSettings)
    push: PushSettings = field(default_factory=PushSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    private_socket: Path | None = None
    private_callers: Vouching | None = None
    callers: Callers = field(init=False)
    """The callers of the server, who are asked for credentials if there are authenticators."""

    def __post_init__(self) -> None:
        check_agent(self.agent, Agent)
        if self.store is not None:
            check_store(self.store)
        check_limits_fit(self.settings, self.engine, self.transport)
        callers = Callers(
            self.auth,
            failures_per_minute=self.auth_settings.auth_failures_per_minute,
            calls_per_second=self.auth_settings.calls_per_second,
            calls_burst=self.auth_settings.calls_burst,
        )
        object.__setattr__(self, "callers", callers)
        if (self.private_socket is None) != (self.private_callers is None):  # without it all callers would be one
            raise TypeError("Server(): private_socket and private_callers come together")
        if not self._is_vouched:
            check_scopes(self.agent, callers)
        if callers.authenticates:
            check_credentials_are_encrypted(self.settings)
        if self.push.push and (why := problem(self.push, self.database_url, self.store)):
            raise ConfigurationError(f"push notifications cannot be offered: {why}")

    @property
    def _is_vouched(self) -> bool:
        """True if a sentinel vouches for callers."""
        return self.private_callers is not None and self.private_callers.is_vouching

    @property
    def database_url(self) -> str:
        """The URL of the store; "" for a store of the program."""
        return "" if self.store else self.settings.store

    @property
    def shown_store(self) -> str:
        """The URL of the store without its password; "" for a store of the program."""
        return mask_url(self.database_url)

    def card(self, address: str) -> AgentCard:
        """Return the card for an address, with the credentials that the server accepts.

        Raises:
            ConfigurationError: The agent has no valid card.
        """
        card = build_card(self.agent, address=address, tenant=self.settings.tenant, offers_push=bool(self.push.push))
        auth = (self.private_callers,) if self.private_callers is not None and self._is_vouched else self.auth
        return secure(card, auth, {skill.id: skill.scopes for skill in self.agent.skills.values()})
