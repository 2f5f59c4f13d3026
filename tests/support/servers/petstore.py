"""The Swagger Petstore as a live server: what its document promises, kept in memory, and what came in."""

from typing import Annotated, Any

from fastapi import Body, FastAPI, Form, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class Pet(BaseModel):
    id: int | None = None
    name: str
    photoUrls: list[str]  # noqa: N815  the document's name
    tags: list[dict[str, Any]] = []
    status: str | None = None


class Petstore:
    """The app, its pets, and the headers of each request."""

    def __init__(self) -> None:
        self.pets: dict[int, Pet] = {}
        self.headers: list[dict[str, str]] = []
        self.app = FastAPI()
        self._routes()

    def _routes(self) -> None:
        app, pets = self.app, self.pets

        @app.middleware("http")
        async def remember(request: Request, go_on: Any) -> Any:
            self.headers.append(dict(request.headers))
            return await go_on(request)

        def unknown() -> JSONResponse:
            return JSONResponse({"code": 1, "type": "error", "message": "Pet not found"}, 404)

        @app.post("/v2/pet")
        @app.put("/v2/pet")
        def put(pet: Pet) -> Pet:
            pet.id = pet.id or len(pets) + 1
            pets[pet.id] = pet
            return pet

        @app.get("/v2/pet/findByStatus")
        def by_status(status: Annotated[list[str], Query()]) -> list[Pet]:
            wanted = {one for part in status for one in part.split(",")}
            return [pet for pet in pets.values() if pet.status in wanted]

        @app.get("/v2/pet/findByTags")
        def by_tags(tags: Annotated[list[str], Query()]) -> list[Pet]:
            return [pet for pet in pets.values() if {tag["name"] for tag in pet.tags} & set(tags)]

        @app.get("/v2/pet/{pet_id}")
        def get(pet_id: int, api_key: Annotated[str, Header(convert_underscores=False)] = "") -> Any:
            if api_key != "special-key":
                return JSONResponse({"message": "no key"}, 401)
            return pets.get(pet_id) or unknown()

        @app.post("/v2/pet/{pet_id}")
        def form(pet_id: int, name: Annotated[str, Form()] = "", status: Annotated[str, Form()] = "") -> Any:
            if pet_id not in pets:
                return unknown()
            pets[pet_id].name, pets[pet_id].status = name, status
            return {"code": 200, "type": "unknown", "message": str(pet_id)}

        @app.delete("/v2/pet/{pet_id}")
        def delete(pet_id: int) -> Any:
            return {"code": 200, "message": str(pet_id)} if pets.pop(pet_id, None) else unknown()

        @app.post("/v2/pet/{pet_id}/uploadImage")
        async def upload(pet_id: int, request: Request) -> Any:
            if request.headers["content-type"] == "application/octet-stream":  # as version 3.1 of the document has it
                return {"code": 200, "message": f"{pet_id} {len(await request.body())}"}
            async with request.form() as form:
                file = form["file"]
                assert not isinstance(file, str)
                content = await file.read()
                return {"code": 200, "message": f"{pet_id} {len(content)} {file.filename} {form['additionalMetadata']}"}

        @app.get("/v2/store/inventory")
        def inventory() -> dict[str, int]:
            found = [pet.status or "" for pet in pets.values()]
            return {status: found.count(status) for status in found}

        @app.post("/v2/user/createWithList")
        def users(users: Annotated[list[dict[str, Any]], Body()]) -> Any:
            return {"message": ", ".join(user["username"] for user in users)}

        @app.get("/v2/user/login")
        def login(username: str, password: str) -> str:
            return f"logged in {username} {password}"
