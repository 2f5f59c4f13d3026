"""The Swagger Petstore in three versions of its document, against a live server that is one."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcp_endpoint.providers.openapi.operations.operation import WITHOUT_ASKING
from mcp_endpoint.providers.openapi.source import OpenApi, OpenApiSettings
from support.paths import OPENAPI_DOCUMENTS
from support.servers.live import live
from support.servers.petstore import Petstore
from support.servers.source_client import Asker, asking

FOLDER = OPENAPI_DOCUMENTS
DOCUMENTS = ("petstore-2.0.json", "petstore-3.0.yaml", "petstore-3.1.json")
SECRETS = {"api_key": "special-key", "PETSTORE_AUTH": "top secret"}


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Petstore, str]]:
    store = Petstore()
    with live(store.app) as url:
        yield store, url + "/v2"


def settings(url: str, document: str, **more: Any) -> OpenApiSettings:
    facts = {"base_url": url, "allow_private": ("127.0.0.1",), "env": SECRETS} | more
    return OpenApiSettings(str(FOLDER / document), **facts)


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_the_store_is_served(store: tuple[Petstore, str], document: str) -> None:
    shop, url = store
    shop.pets.clear()
    async with asking(OpenApi(settings(url, document))) as asker:
        listed = await asker.listed("tools/list")
        assert len(listed) == 17
        assert "deletePet" not in listed
        for one in listed.values():
            Draft202012Validator.check_schema(one["inputSchema"])
            assert "api_key" not in str(one["inputSchema"])
        assert listed["getPetById"]["annotations"] == {"readOnlyHint": True, "openWorldHint": True}
        assert listed["updatePet"]["annotations"]["destructiveHint"] is True
        assert listed["addPet"]["inputSchema"]["required"] == ["body"]
        pet = {"id": 7, "name": "狗 & 猫", "photoUrls": [], "tags": [{"id": 1, "name": "a b"}], "status": "available"}
        added = await asker.call("addPet", {"body": pet})
        assert added["structuredContent"] == pet
        assert "狗 & 猫" in added["content"][0]["text"]
        assert shop.headers[-1]["authorization"] == "Bearer top secret"
        got = await asker.call("getPetById", {"petId": "7"})
        assert got["structuredContent"]["id"] == 7
        assert "authorization" not in shop.headers[-1]
        found = await asker.call("findPetsByStatus", {"status": ["sold", "available"]})
        assert [one["id"] for one in found["structuredContent"]["result"]] == [7]
        found = await asker.call("findPetsByTags", {"tags": ["x", "a b"]})
        assert [one["id"] for one in found["structuredContent"]["result"]] == [7]
        await asker.text("updatePetWithForm", {"petId": 7, "body": {"name": "=&+ü", "status": "sold"}})
        assert (shop.pets[7].name, shop.pets[7].status) == ("=&+ü", "sold")
        file = base64.b64encode(b"\0picture").decode()
        whole = "3.1" in document
        body = file if whole else {"additionalMetadata": "ü", "file": file}
        uploaded = await asker.text("uploadFile", {"petId": 7, "body": body})
        assert ("7 8" if whole else "7 8 file ü") in uploaded
        assert (await asker.call("getInventory"))["structuredContent"] == {"sold": 1}
        assert "a, b" in await asker.text("createUsersWithListInput", {"body": [{"username": "a"}, {"username": "b"}]})
        assert await asker.text("loginUser", {"username": "a&b=c", "password": "ü"}) == "logged in a&b=c ü"


async def test_what_does_not_fit_or_is_refused_is_told(store: tuple[Petstore, str]) -> None:
    shop, url = store
    shop.pets.clear()
    async with asking(OpenApi(settings(url, DOCUMENTS[1]))) as asker:
        assert await asker.error("getPetById", {"petId": 5}) == "HTTP 404 Not Found: Pet not found"
        assert "'name' is a required property" in await asker.error("addPet", {"body": {"photoUrls": []}})
        assert "petId" in await asker.error("getPetById", {"petId": "seven"})
        assert "maximum" in await asker.error("getOrderById", {"orderId": 11})
        assert "base64" in await asker.error("uploadFile", {"petId": 7, "body": {"file": "no!"}})
        assert not (await asker.call("getInventory", {"api_key": "not-mine"})).get("isError")
        assert "not-mine" not in str(shop.headers[-1])
        told = await asker.error("getUserByName", {"username": ".."})
        assert "must not be" in told
        assert "HTTP 404" in await asker.error("getUserByName", {"username": "a/../b?c"})
        before = len(shop.headers)
        await refused_by_limit(asker)
        assert len(shop.headers) == before
    async with asking(OpenApi(settings(url, DOCUMENTS[1], env={}))) as asker:
        told = await asker.error("getPetById", {"petId": 5})
        assert told.startswith("HTTP 401 Unauthorized: no key")
        assert "settings" in told


async def refused_by_limit(asker: Asker) -> None:
    assert (await asker.refused("tools/call", {"name": "deletePet", "arguments": {"petId": 1}}))[0] == -32602


async def test_filters_by_method_tag_and_operation(store: tuple[Petstore, str]) -> None:
    shop, url = store
    everything = WITHOUT_ASKING | {"delete"}
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"methods": frozenset({"delete"})}, {"deletePet", "deleteOrder", "deleteUser"}),
        ({"tags": frozenset({"store"})}, {"getInventory", "placeOrder", "getOrderById"}),
        ({"operations": frozenset({"addPet", "deletePet"})}, {"addPet"}),
        ({"operations": frozenset({"addPet", "deletePet"}), "methods": everything}, {"addPet", "deletePet"}),
    ]
    for filters, names in cases:
        async with asking(OpenApi(settings(url, DOCUMENTS[1], **filters))) as asker:
            listed = await asker.listed("tools/list")
            assert set(listed) == names
            if "deletePet" in listed:
                assert listed["deletePet"]["annotations"]["destructiveHint"] is True
    shop.pets.clear()
    async with asking(OpenApi(settings(url, DOCUMENTS[1], methods=everything))) as asker:
        await asker.text("addPet", {"body": {"name": "x", "photoUrls": []}})
        assert "1" in await asker.text("deletePet", {"petId": 1})


async def test_a_header_of_the_settings_fills_a_scheme_and_is_nobodys_to_give(store: tuple[Petstore, str]) -> None:
    shop, url = store
    shop.pets.clear()
    one = settings(
        url, DOCUMENTS[2], env={}, headers={"API_KEY": "special-key", "X-Extra": "1"}, methods={"get", "post"}
    )
    async with asking(OpenApi(one)) as asker:
        await asker.text("addPet", {"body": {"id": 3, "name": "x", "photoUrls": []}})
        assert (await asker.call("getPetById", {"petId": 3}))["structuredContent"]["id"] == 3
        assert shop.headers[-1]["x-extra"] == "1"
        assert "api_key" not in str(await asker.listed("tools/list"))
