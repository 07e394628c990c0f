"""The registry's gRPC service: agents that register, and callers that look for agents."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import InvalidRequestError, NoAgentFound, PermissionDeniedError, Violation
from a2a_grpc.registry import Entry, EntryStore, Found, Key, Search
from a2a_grpc.registry.pages import cut, page_size, place_of, token_of
from a2a_grpc.registry.wire import (
    REGISTRY,
    REGISTRY_SERVICE,
    AgentsPage,
    FindRequest,
    GetRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    ListRequest,
    RegisteredAgent,
    RegisterRequest,
    RegisterResponse,
    UnregisterRequest,
    UnregisterResponse,
)
from a2a_grpc.registry.words import asked, one_line, tag_of
from a2a_grpc.rpc import Calls, Context, current_caller
from a2a_grpc.rpc.calls import Behavior
from a2a_grpc.sentinel.described import MAX_CARD_BYTES
from a2a_grpc.sentinel.directory import seen, unavailable
from a2a_grpc.sentinel.registrable import name_flaw, url_flaw
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.text import MAX_CHARS, flaw

MAX_INSTANCE_CHARS = 64
MAX_TAGS = 16
MAX_TEXT_CHARS = 2000

Request = TypeVar("Request", bound=Message)


class RegistryService:
    """Serves the gRPC service of the registry, except for Heartbeats.

    Guarantees:

    - A caller sees the attached agents that the rules let it call, and other agents if its credentials cover their
      tenants. The answer for an agent that it does not see is that for a name that is not there.
    - An entry belongs to the principal that has registered it. No other principal renews, replaces or removes it.
    - Only attached agents have names with '@', so that no agent takes the address of another one by registering.

    Args:
        entries: The store of the entries.
        rules: The rules that say which callers may attach and call which agents. A caller registers agents of a tenant
            if it may attach there.
    """

    def __init__(self, entries: EntryStore, rules: Rules) -> None:
        self._entries = entries
        self._rules = rules

    def handlers(self, calls: Calls) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of the service.

        Args:
            calls: The calls in progress.
        """
        behaviors = {
            "Register": _served(RegisterRequest, self._register),
            "Heartbeat": _served(HeartbeatRequest, self._heartbeat),
            "Unregister": _served(UnregisterRequest, self._unregister),
            "Get": _served(GetRequest, self._get),
            "List": _served(ListRequest, self._list),
            "Find": _served(FindRequest, self._find),
        }
        return {
            f"/{REGISTRY_SERVICE}/{name}": calls.handler(REGISTRY.methods_by_name[name], behavior)
            for name, behavior in behaviors.items()
        }

    async def _register(self, request: RegisterRequest) -> RegisterResponse:
        _check_registration(request)
        if not self._rules.may_attach(current_caller().principal, request.tenant):
            raise PermissionDeniedError("the rules do not let you register agents", metadata={"name": request.name})
        entry = Entry(
            key=Key(request.name, request.instance),
            owner=current_caller().principal.owner,
            url=request.url,
            tenant=request.tenant,
        )
        try:
            entry = entry.with_card(request.card)
        except ValueError as error:
            raise InvalidRequestError.of(Violation("card", str(error))) from None
        await self._entries.add(entry)
        return RegisterResponse(lease_s=self._entries.lease_s)

    async def _heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        if not await self._entries.renew(Key(request.name, request.instance), current_caller().principal.owner):
            raise NoAgentFound.of(request.name)
        return HeartbeatResponse(lease_s=self._entries.lease_s)

    async def _unregister(self, request: UnregisterRequest) -> UnregisterResponse:
        if not await self._entries.remove(Key(request.name, request.instance), current_caller().principal.owner):
            raise NoAgentFound.of(request.name)
        return UnregisterResponse()

    async def _get(self, request: GetRequest) -> RegisteredAgent:
        for entry in await self._entries.at(request.name) if flaw(request.name) is None else []:
            if self._rules.may_see(current_caller().principal, entry):
                return registered(entry)
        raise NoAgentFound.of(request.name)

    async def _list(self, request: ListRequest) -> AgentsPage:
        return await self._page(Search(tenants=current_caller().principal.tenants), request)

    async def _find(self, request: FindRequest) -> AgentsPage:
        if len(request.tags) > MAX_TAGS:
            raise InvalidRequestError.of(Violation("tags", f"has {len(request.tags)} tags; the limit is {MAX_TAGS}"))
        _check(_flawed("text", request.text, MAX_TEXT_CHARS), *(_flawed("tags", tag) for tag in request.tags))
        _check(_flawed("skill", request.skill))
        search = Search(
            skill=one_line(request.skill),
            tags=tuple(filter(None, map(tag_of, request.tags))),
            words=asked(request.text),
            tenants=current_caller().principal.tenants,
        )
        if request.text.strip() and not search.words:
            return AgentsPage()  # it has common words only
        return await self._page(search, request)

    async def _page(self, search: Search, request: ListRequest | FindRequest) -> AgentsPage:
        size, after = page_size(request.page_size), place_of(request.page_token, search)
        listed: list[Found] = []
        async with aclosing(
            seen(self._entries, self._rules, current_caller().principal, search, after, size + 1)
        ) as entries:
            async for one in entries:
                listed.append(one)
                if len(listed) > size:
                    break
        found, last = cut(listed, size)
        return AgentsPage(agents=[registered(one.entry) for one in found], next_page_token=token_of(last, search))


def registered(entry: Entry) -> RegisteredAgent:
    """Return an entry as callers see it.

    Args:
        entry: The entry.
    """
    return RegisteredAgent(
        name=entry.name,
        attached=entry.is_attached,
        sentinel=entry.key.sentinel,
        url=entry.url,
        tenant=entry.tenant,
        card=entry.card,
    )


def _served(kind: type[Request], serve: Callable[[Request], Awaitable[Message]]) -> Behavior:
    """Return a behavior that parses a request, and serialises the response."""

    async def behavior(raw: bytes, context: Context) -> bytes:
        try:
            request = kind.FromString(raw)
        except DecodeError:
            raise InvalidRequestError(f"the bytes are no {kind.DESCRIPTOR.name}") from None
        try:
            return (await serve(request)).SerializeToString()
        except StoreUnavailable:
            raise unavailable() from None

    return behavior


def _check_registration(request: RegisterRequest) -> None:
    """Raise InvalidRequestError for an agent that cannot be registered."""
    _check(
        _violation("name", name_flaw(request.name)),
        _flawed("instance", request.instance, MAX_INSTANCE_CHARS),
        None if request.instance else Violation("instance", "must not be empty"),
        _violation("url", url_flaw(request.url)),
        _flawed("tenant", request.tenant),
        None if request.card else Violation("card", "must not be empty"),
        Violation("card", f"has {len(request.card)} bytes; the limit is {MAX_CARD_BYTES}")
        if len(request.card) > MAX_CARD_BYTES
        else None,
    )


def _check(*violations: Violation | None) -> None:
    """Raise InvalidRequestError if there is a violation."""
    if found := [violation for violation in violations if violation is not None]:
        raise InvalidRequestError.of(*found)


def _flawed(field: str, text: str, max_chars: int = MAX_CHARS) -> Violation | None:
    return _violation(field, flaw(text, max_chars))


def _violation(field: str, said: str | None) -> Violation | None:
    return Violation(field, said) if said else None
