"""Calls of tools by an ADK agent: status messages, questions to the user, and the answers that the agent gets."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.adk.auth.auth_credential import (
    AuthCredential,
    AuthCredentialTypes,
    HttpAuth,
    HttpCredentials,
    OAuth2Auth,
)
from google.adk.auth.auth_tool import AuthConfig
from google.genai import types
from pydantic import ValidationError

from a2a_grpc.adapters.adk_agents import Agents
from a2a_grpc.adapters.calls import Call, Denied, answers, asked, tell
from a2a_grpc.agent import AuthRequired, Outcome, Turn
from a2a_grpc.parts import Json, data_of
from a2a_grpc.wire import Message

CONFIRMATION, CREDENTIAL, INPUT = "adk_request_confirmation", "adk_request_credential", "adk_request_input"
"""Names of the calls with which ADK itself asks the user."""
UNTOLD = frozenset({CONFIRMATION, CREDENTIAL, INPUT, "transfer_to_agent", "set_model_response", "finish_task"})
"""Calls with which ADK works, or that are told in another way."""
GENERAL_HINT = "Please approve or reject the tool call"
"""The beginning of ADK's own words for a confirmation, which speak to programs."""


def question(waiting: Sequence[types.FunctionCall]) -> Outcome:
    """Return the outcome that asks the user about calls."""
    outcome = asked([_call(call) for call in waiting])
    if any(call.name == CREDENTIAL for call in waiting):
        return AuthRequired(outcome.content)
    return outcome


def responses(waiting: Sequence[types.FunctionCall], message: Message) -> types.Content | None:
    """Return what a message says to calls as the responses of the functions, or None if it does not answer each."""
    said = _confirmations(waiting, message) or answers([_call(call) for call in waiting], message)
    if said is None:
        return None
    found = [_response(call, said[call.id or ""]) for call in waiting]
    if None in found:
        return None
    return types.Content(
        role="user",
        parts=[
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response=response))
            for call, response in zip(waiting, found, strict=True)
        ],
    )


class Told:
    """Sends a status message for each call of a tool."""

    def __init__(self, turn: Turn, agents: Agents) -> None:
        self._turn = turn
        self._agents = agents
        self._held: set[str] = set()
        """Calls that are not told before it is known that they do not wait for the user."""
        self._denied: set[str] = set()

    async def decided(
        self, waiting: Sequence[types.FunctionCall], answer: types.Content, *, is_again: bool = False
    ) -> None:
        """Tell the calls that the user has allowed: ADK makes them now, and has no further event of them.

        Args:
            waiting: The calls that wait for the user.
            answer: The content that `responses` made of the message of the user.
            is_again: True if an earlier attempt of the turn has told them.
        """
        given = [part.function_response for part in answer.parts or () if part.function_response is not None]
        said = {response.id: response.response for response in given}
        for call in waiting:
            if call.name != CONFIRMATION:
                continue
            original = (call.args or {}).get("originalFunctionCall") or {}
            if not said[call.id]["confirmed"]:
                self._denied.add(original.get("id") or "")
            elif not is_again:
                await tell(self._turn, "called", original.get("name") or "", original.get("id") or "")

    async def called(self, agent: str, call: types.FunctionCall) -> None:
        """Tell a call, unless the user may have to allow it first."""
        if call.name in UNTOLD:
            return
        if self._agents.may_confirm(agent, call.name or ""):
            self._held.add(call.id or "")
        else:
            await tell(self._turn, "called", call.name or "", call.id or "")

    async def answered(self, response: types.FunctionResponse) -> None:
        """Tell that a call has ended."""
        if response.name in UNTOLD:
            return
        name, id = response.name or "", response.id or ""
        if id in self._held:
            await tell(self._turn, "called", name, id)
        failed = bool(response.response and response.response.get("error"))
        await tell(self._turn, ("denied" if id in self._denied else "failed") if failed else "done", name, id)


def _call(call: types.FunctionCall) -> Call:
    """Return a call as the user reads it. It has no secrets of ADK's configuration of credentials."""
    given: dict[str, Any] = call.args or {}
    id = call.id or ""
    match call.name:
        case "adk_request_confirmation":
            original, hint = given.get("originalFunctionCall") or {}, (given.get("toolConfirmation") or {}).get("hint")
            words = "" if not hint or hint.startswith(GENERAL_HINT) else hint
            return Call(id, original.get("name") or "", original.get("args") or {}, "approval", words)
        case "adk_request_credential":
            config = _config(given)
            address = _address(config)
            words = f"Sign in at {address} and answer with the address to which it leads." if address else ""
            scheme = config.auth_scheme.type_
            scheme = str(getattr(scheme, "value", scheme))
            return Call(id, "sign_in", {"scheme": scheme, "url": address}, "result", words or _wants(scheme))
        case "adk_request_input":
            return Call(id, "input", _without(given, "message"), "result", given.get("message") or "The agent asks.")
        case _:
            return Call(id, call.name or "", given, "result")


def _wants(scheme: str) -> str:
    return f"The agent needs a credential of the kind '{scheme}'. Answer with it."


def _without(given: Mapping[str, Any], name: str) -> Json:
    return {key: value for key, value in given.items() if key != name and value is not None}


def _confirmations(waiting: Sequence[types.FunctionCall], message: Message) -> dict[str, Json | Denied] | None:
    """Return confirmations that a program gives with all that ADK takes: `confirmed` and `payload`."""
    data = data_of(message)
    if not isinstance(data, dict) or any(call.name != CONFIRMATION for call in waiting):
        return None
    given = {waiting[0].id or "": data} if len(waiting) == 1 and "confirmed" in data else data
    found = {call.id or "": given.get(call.id or "") for call in waiting}
    if all(isinstance(each, dict) and isinstance(each.get("confirmed"), bool) for each in found.values()):
        return dict(found)
    return None


def _response(call: types.FunctionCall, said: "Json | Denied") -> dict[str, Any] | None:
    """Return the response of a function for what the user said, or None if it cannot be used."""
    if call.name == CREDENTIAL:
        return _credential(_config(call.args or {}), said)
    if call.name == CONFIRMATION:
        if isinstance(said, dict):
            return {"confirmed": said["confirmed"], "payload": said.get("payload")}
        return {"confirmed": said is True}
    return said if isinstance(said, dict) else {"result": said}


def _config(given: Mapping[str, Any]) -> AuthConfig:
    return AuthConfig.model_validate(given.get("authConfig") or given.get("auth_config"))


def _address(config: AuthConfig) -> str:
    """Return the address at which the user signs in; empty if there is none."""
    oauth2 = config.exchanged_auth_credential.oauth2 if config.exchanged_auth_credential else None
    return (oauth2.auth_uri if oauth2 else None) or ""


def _credential(config: AuthConfig, said: "Json | Denied") -> dict[str, Any] | None:
    """Return the configuration with the credential of the user, or None if the answer is no credential."""
    if isinstance(said, dict):
        try:
            config.exchanged_auth_credential = AuthCredential.model_validate(said)
        except ValidationError:
            return None
    elif not isinstance(said, str) or not (text := said.strip()):
        return None
    else:
        scheme = config.auth_scheme.type_
        match str(getattr(scheme, "value", scheme)):
            case "apiKey":
                config.exchanged_auth_credential = AuthCredential(auth_type=AuthCredentialTypes.API_KEY, api_key=text)
            case "http":
                kind = getattr(config.auth_scheme, "scheme", None) or "bearer"
                http = HttpAuth(scheme=kind, credentials=HttpCredentials(token=text))
                config.exchanged_auth_credential = AuthCredential(auth_type=AuthCredentialTypes.HTTP, http=http)
            case _ if not text.startswith(("http://", "https://")):
                return None
            case _:
                credential = config.exchanged_auth_credential or AuthCredential(auth_type=AuthCredentialTypes.OAUTH2)
                credential.oauth2 = credential.oauth2 or OAuth2Auth()
                credential.oauth2.auth_response_uri = text
                credential.oauth2.redirect_uri = credential.oauth2.redirect_uri or text.partition("?")[0]
                config.exchanged_auth_credential = credential
    dumped: dict[str, Any] = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
