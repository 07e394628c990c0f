"""The identity provider of these tests gives tokens by each of its grants."""

import json
from typing import Any

import aiohttp
import pytest

from tests.auth.provider import Provider

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first build on a machine takes minutes

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


async def post(url: str, **form: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
        return response.status, json.loads(await response.text())


async def test_a_program_gets_a_token_with_its_secret_and_no_token_without_it() -> None:
    async with Provider() as provider:
        assert len((await provider.token()).split(".")) == 3
        form = {"grant_type": "client_credentials", "client_id": "worker", "client_secret": "wrong"}
        assert await post(provider.token_endpoint, **form) == (401, {"error": "invalid_client"})


async def test_a_device_gets_a_token_once_its_user_has_confirmed_and_renews_it() -> None:
    async with Provider() as provider:
        _, asked = await post(provider.device_endpoint, client_id="cli", scope="read offline_access")
        take = {"grant_type": DEVICE_CODE, "device_code": asked["device_code"], "client_id": "cli"}
        assert (await post(provider.token_endpoint, **take))[1]["error"] == "authorization_pending"
        await provider.decide(asked["user_code"])
        status, given = await post(provider.token_endpoint, **take)
        assert (status, given["scope"]) == (200, "read offline_access")
        renew = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": "cli"}
        status, renewed = await post(provider.token_endpoint, **renew)
        assert status == 200
        assert renewed["refresh_token"] != given["refresh_token"]
        assert (await post(provider.token_endpoint, **renew))[1] == {"error": "invalid_grant"}  # used already


async def test_a_device_that_its_user_denies_gets_no_token() -> None:
    async with Provider() as provider:
        _, asked = await post(provider.device_endpoint, client_id="cli", scope="read")
        await provider.decide(asked["user_code"], allow=False)
        take = {"grant_type": DEVICE_CODE, "device_code": asked["device_code"], "client_id": "cli"}
        assert (await post(provider.token_endpoint, **take))[1]["error"] == "access_denied"


async def test_the_provider_signs_with_a_new_key_and_shows_the_old_one_until_it_is_retired() -> None:
    async with Provider(algorithm="ES256") as provider:

        async def shown() -> list[str]:
            async with aiohttp.ClientSession() as session, session.get(f"{provider.issuer}/keys") as response:
                return [key["kid"] for key in (await response.json())["keys"]]

        [first] = await shown()
        await provider.rotate()
        assert (await shown())[0] == first
        assert len(await shown()) == 2
        await provider.retire()
        assert first not in await shown()
        assert (await provider.counts())["/keys"] == 4
