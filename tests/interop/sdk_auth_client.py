"""A client made of the official SDK alone, whose agent wants to know who calls.

    python tests/interop/sdk_auth_client.py URL_OF_THE_CARD [CA CERTIFICATE KEY]

Reads the credentials for each security scheme of the card from the variable SCHEMES, as JSON. Prints what a call
without credentials and a call with them have shown, as JSON. With files it calls with a client certificate.
"""

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
from a2a.client import A2ACardResolver, Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.client.auth.credentials import CredentialService
from a2a.client.auth.interceptor import AuthInterceptor
from a2a.types import AgentCard, ListTasksRequest, Message, Part, Role, SendMessageRequest


class Schemes(CredentialService):  # type: ignore[misc]
    """The credentials of each scheme."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    async def get_credentials(self, security_scheme_name: str, context: ClientCallContext | None) -> str | None:
        return self._known.get(security_scheme_name)


def channels(files: list[str]) -> Any:
    """A function that opens a channel."""
    if not files:
        return grpc.aio.insecure_channel
    ca, certificate, key = (Path(file).read_bytes() for file in files)
    return lambda url: grpc.aio.secure_channel(
        url.replace("127.0.0.1", "localhost"), grpc.ssl_channel_credentials(ca, key, certificate)
    )


def client(card: AgentCard, files: list[str], known: dict[str, str]) -> Client:
    config = ClientConfig(grpc_channel_factory=channels(files), supported_protocol_bindings=["GRPC"])
    return ClientFactory(config).create(card, interceptors=[AuthInterceptor(Schemes(known))])


async def seen(called: Client) -> dict[str, Any]:
    """What a send and a list show."""
    message = Message(message_id="m-1", role=Role.ROLE_USER, parts=[Part(text="hello")])
    try:
        states = []
        async for element in called.send_message(SendMessageRequest(message=message)):
            states.append(element.WhichOneof("payload"))
        listed = await called.list_tasks(ListTasksRequest())
        return {"elements": states, "tasks": len(listed.tasks)}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    finally:
        await called.close()


async def main(url: str, files: list[str]) -> None:
    verify = ssl.create_default_context(cafile=files[0]) if files else True
    async with httpx.AsyncClient(verify=verify) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
    known = json.loads(os.environ["SCHEMES"])
    without = await seen(client(card, files, {}))
    with_them = await seen(client(card, files, known))
    print(json.dumps({"schemes": sorted(card.security_schemes), "without": without, "with": with_them}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
