"""What GraphiQL's routes serve."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

import app.api.graphiql
from app.api.graphiql import examples, routes

ASSETS = Path(app.api.graphiql.__file__).parent / "assets"
ASSET_NAMES = sorted(file.name.removesuffix(".gz") for file in ASSETS.iterdir())
HASHED_NAME = re.compile(r"[\w.-]+-[\w-]{8}\.(css|js|svg|ttf|woff2)")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://ledgers") as client:
        yield client


async def test_page_is_strict(client: httpx.AsyncClient) -> None:
    """The page may load from its own origin alone, is never kept, and has no inline script."""
    response = await client.get("/graphiql")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r"<script(?![^>]* src=)|<style| on\w+=|//", response.text) == []


async def test_page_names_only_assets_that_are_served(client: httpx.AsyncClient) -> None:
    """Every address in the page is an asset of this server's."""
    page = (await client.get("/graphiql")).text

    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert len(addresses) > 2
    for address in addresses:
        assert address.startswith("/graphiql/assets/")
        assert (await client.get(address)).status_code == 200


async def test_assets_are_kept_for_good(client: httpx.AsyncClient) -> None:
    """Assets are named after their content and kept for good; all are strict like the page."""
    policy = (await client.get("/graphiql")).headers["content-security-policy"]
    names = [name for name in ASSET_NAMES if name not in {"index.html", "LICENSES.txt"}]
    assert len(names) > 10

    for name in names:
        response = await client.get(f"/graphiql/assets/{name}")
        assert HASHED_NAME.fullmatch(name)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["content-security-policy"] == policy
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("suffix", "content_type"),
    [
        (".js", "text/javascript; charset=utf-8"),
        (".css", "text/css; charset=utf-8"),
        (".svg", "image/svg+xml"),
        (".woff2", "font/woff2"),
    ],
)
async def test_assets_say_what_they_are(
    client: httpx.AsyncClient, suffix: str, content_type: str
) -> None:
    """The content type depends on no table of the machine's."""
    name = next(name for name in ASSET_NAMES if name.endswith(suffix))

    response = await client.get(f"/graphiql/assets/{name}")

    assert response.headers["content-type"] == content_type


async def test_assets_are_compressed_where_that_is_accepted(client: httpx.AsyncClient) -> None:
    """A client which does not take gzip gets the same content as one which does."""
    name = next(name for name in ASSET_NAMES if name.endswith(".js"))

    packed = await client.get(f"/graphiql/assets/{name}", headers={"Accept-Encoding": "gzip"})
    plain = await client.get(f"/graphiql/assets/{name}", headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.content == plain.content


@pytest.mark.parametrize(
    "name", ["none.js", "index.html", "..%2f__init__.py", "%2e%2e/__init__.py", ""]
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    """What is not an asset is not found, wherever its name points."""
    response = await client.get(f"/graphiql/assets/{name}")

    assert response.status_code == 404


async def test_licenses_come_along(client: httpx.AsyncClient) -> None:
    """The notices of all that is bundled are served beside it."""
    notices = await client.get("/graphiql/assets/LICENSES.txt")

    assert notices.headers["cache-control"] == "no-store"
    for package in ("graphiql", "monaco-editor", "react", "@fontsource/fira-code"):
        assert re.search(rf"^{package} \d+\.\d+\.\d+, [\w.-]+$", notices.text, re.MULTILINE)


def test_assets_stay_small() -> None:
    """What the repository carries for GraphiQL stays below three megabytes."""
    assert sum(file.stat().st_size for file in ASSETS.iterdir()) < 3_000_000


async def test_examples_reach_the_page(client: httpx.AsyncClient) -> None:
    """The page gets the documents in `examples/` in their order, never an old version of them."""
    response = await client.get("/graphiql/examples.json")

    assert response.headers["cache-control"] == "no-store"
    assert [(tab["query"], tab["variables"]) for tab in response.json()] == [
        (example.query, example.variables) for example in examples()
    ]
    assert len(response.json()) == 6
