"""GraphiQL in a real browser which can reach nothing but this machine."""

import asyncio
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from graphql import parse
from graphql.language import OperationDefinitionNode
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from app.api.graphiql import examples
from app.seed import seed
from app.server import Server
from app.settings import Settings
from tests.conftest import copied_database

expect.set_options(timeout=15_000)  # milliseconds

PLACEHOLDER = '"Authorization": "Bearer "'


@dataclass(frozen=True)
class GraphiqlServer:
    """Where GraphiQL is served and a key which its API accepts."""

    url: str
    api_key: str


@pytest.fixture(scope="module")
def graphiql_server(server_url: str, template: str) -> Iterator[GraphiqlServer]:
    """The whole server on a socket, with the demo that a first start makes."""
    with copied_database(server_url, template) as url:

        async def make_demo() -> str:
            server = Server(Settings(), url)
            async with server.running():
                return (await seed(server.database, server.writer)).token

        token = asyncio.run(make_demo())
        application = Server(Settings(), url).application()
        server = uvicorn.Server(uvicorn.Config(application, log_config=None))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            yield GraphiqlServer(f"http://127.0.0.1:{listener.getsockname()[1]}", token)
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(names)} is in PATH")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )


@dataclass
class Explorer:
    """GraphiQL in a fresh browser profile, as a person meets it."""

    server: GraphiqlServer
    page: Page
    console_errors: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.console_errors.append(message.text)

    def _request(self, request: Request) -> None:
        self.requested.append(request.url)

    def open(self, key: str | None = None) -> None:
        self.page.goto(f"{self.server.url}/graphiql" + (f"#key={key}" if key else ""))
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        expect(self.page.locator(".graphiql-query-editor")).to_contain_text("LedgersAndBalances")
        expect(self.headers).to_contain_text("Authorization")

    def open_with_schema(self) -> None:
        with self.page.expect_response("**/graphql") as response:
            self.open(key=self.server.api_key)
        assert response.value.status == 200

    @property
    def headers(self) -> Any:
        return self.page.get_by_role("region", name="Headers").locator(
            ".graphiql-editor:not(.hidden) .view-lines"
        )

    @property
    def response(self) -> Any:
        return self.page.locator(".graphiql-response .view-lines")

    @property
    def banner(self) -> Any:
        return self.page.get_by_role("alert").and_(self.page.locator("form"))

    def run_query(self) -> None:
        self.page.get_by_role("button", name="Execute query").click()

    def paste_headers(self, text: str) -> None:
        self.page.evaluate("text => navigator.clipboard.writeText(text)", text)
        self.headers.click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.press("ControlOrMeta+V")

    def open_documentation(self) -> Any:
        self.page.get_by_role("button", name="Show Documentation Explorer").click()
        return self.page.get_by_role("region", name="Documentation Explorer")

    def stored(self) -> str:
        return str(
            self.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"),
        )


@pytest.fixture
def explorer(graphiql_server: GraphiqlServer, browser: Browser) -> Iterator[Explorer]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield Explorer(graphiql_server, context.new_page())
    context.close()


def test_the_examples_are_in_tabs(explorer: Explorer) -> None:
    """Each example opens in a tab which carries its operation's name."""
    operations = [
        definition.name.value
        for example in examples()
        for definition in parse(example.query).definitions
        if isinstance(definition, OperationDefinitionNode) and definition.name
    ]

    explorer.open_with_schema()

    tabs = explorer.page.get_by_role("tab")
    expect(tabs).to_contain_text(operations)
    for index in range(len(operations)):
        tabs.nth(index).click()
        expect(explorer.page.locator(".graphiql-query-editor")).to_contain_text(operations[index])


def test_nothing_is_missing_nor_comes_from_elsewhere(explorer: Explorer) -> None:
    """All that a session loads is this server's, allowed by the policy, and without an error."""
    explorer.page.add_init_script(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', (violation) =>"
        " window.violations.push(violation.violatedDirective + ' ' + violation.blockedURI));"
    )

    explorer.open_with_schema()
    explorer.run_query()
    expect(explorer.response).to_contain_text("Demo marketplace")
    expect(explorer.open_documentation()).to_contain_text("Root Types")
    with explorer.page.expect_response(re.compile("/graphiql/assets/babel-")):
        explorer.page.get_by_role("button", name="Prettify query").click()
    explorer.page.wait_for_load_state("networkidle")

    foreign = [url for url in explorer.requested if not url.startswith(explorer.server.url)]
    assert foreign == []
    assert explorer.console_errors == []
    assert explorer.page.evaluate("window.violations") == []


def test_key_in_the_address(explorer: Explorer) -> None:
    """A key in the address goes to the header editor, leaves the address bar and is in no URL."""
    key = explorer.server.api_key

    explorer.open_with_schema()

    expect(explorer.headers).to_contain_text(f'"Authorization": "Bearer {key}"')
    expect(explorer.banner).to_have_count(0)
    assert explorer.page.url == f"{explorer.server.url}/graphiql"
    assert explorer.page.evaluate("history.length") == 2  # about:blank and the page
    assert not [url for url in explorer.requested if key in url.partition("#")[0]]


def test_key_in_the_address_of_an_open_page(explorer: Explorer) -> None:
    """A key added to the address of a page already open is taken up too."""
    explorer.open()

    with explorer.page.expect_response("**/graphql"):
        explorer.page.evaluate(f"location.hash = 'key={explorer.server.api_key}'")

    expect(explorer.headers).to_contain_text(f"Bearer {explorer.server.api_key}")
    expect(explorer.banner).to_have_count(0)
    assert explorer.page.url == f"{explorer.server.url}/graphiql"


def test_key_is_stored_nowhere(explorer: Explorer) -> None:
    """Whatever one does with a key, it is in no storage, and a reload forgets it."""
    key = explorer.server.api_key
    explorer.open_with_schema()

    explorer.paste_headers(f'{{"Authorization": "Bearer {key}", "X-Note": "mine"}}')
    explorer.page.wait_for_timeout(500)  # what is typed reaches the tab's state a little later
    explorer.run_query()
    expect(explorer.response).to_contain_text("Demo marketplace")
    explorer.page.get_by_role("tab").nth(1).click()
    explorer.page.get_by_role("button", name="Show History").click()
    explorer.page.get_by_role("button", name="Add favorite").first.click()
    explorer.page.wait_for_timeout(1000)  # GraphiQL writes half a second late

    assert "LedgersAndBalances" in explorer.stored()
    assert "graphiql:favorites" in explorer.stored()
    assert key not in explorer.stored()

    explorer.page.reload()
    expect(explorer.headers).to_contain_text(PLACEHOLDER)
    expect(explorer.banner).to_contain_text("Paste your API key")
    assert key not in explorer.stored()
    assert key not in explorer.page.content()


def test_query_shows_its_result(explorer: Explorer) -> None:
    """The first example runs as it is and shows what the server answered."""
    explorer.open_with_schema()

    explorer.run_query()

    expect(explorer.response).to_contain_text('"name": "Demo marketplace"')


def test_documentation(explorer: Explorer) -> None:
    """The documentation explorer shows the schema with its descriptions."""
    answer = httpx.post(
        f"{explorer.server.url}/graphql",
        json={"query": '{ __type(name: "Query") { fields { name description } } }'},
        headers={"Authorization": f"Bearer {explorer.server.api_key}"},
    )
    fields = answer.json()["data"]["__type"]["fields"]
    explorer.open_with_schema()

    documentation = explorer.open_documentation()
    documentation.get_by_role("link", name="Query", exact=True).click()

    for query_field in fields:
        expect(documentation).to_contain_text(query_field["name"])
        expect(documentation).to_contain_text(query_field["description"].replace("`", ""))


def test_without_a_key(explorer: Explorer) -> None:
    """Without a key a banner says what to do, and a key given there loads the documentation."""
    explorer.open()
    expect(explorer.headers).to_contain_text(PLACEHOLDER)
    expect(explorer.banner).to_contain_text("Paste your API key")
    expect(explorer.banner).to_contain_text('{"Authorization": "Bearer ldg_test_…"}')
    assert explorer.console_errors == []

    explorer.page.get_by_label("API key").fill(f" {explorer.server.api_key}\n")
    explorer.page.get_by_role("button", name="Use this key").click()

    expect(explorer.banner).to_have_count(0)
    expect(explorer.headers).to_contain_text(f"Bearer {explorer.server.api_key}")
    expect(explorer.open_documentation()).to_contain_text("Root Types")
    explorer.run_query()
    expect(explorer.response).to_contain_text("Demo marketplace")
    assert explorer.console_errors == []


def test_key_pasted_into_the_headers(explorer: Explorer) -> None:
    """A key entered in the header editor loads the documentation without a reload."""
    explorer.open()
    documentation = explorer.open_documentation()

    explorer.paste_headers(f'{{"authorization": "Bearer {explorer.server.api_key}"}}')

    expect(documentation).to_contain_text("Root Types")
    expect(explorer.banner).to_have_count(0)


def test_key_that_is_refused(explorer: Explorer) -> None:
    """A key that the server refuses is said to be refused, and another one may follow."""
    explorer.open(key="ldg_test_wrong")
    expect(explorer.banner).to_contain_text("did not accept this API key")

    explorer.page.get_by_label("API key").fill(explorer.server.api_key)
    explorer.page.get_by_role("button", name="Use this key").click()

    expect(explorer.banner).to_have_count(0)


def test_tabs_share_the_headers(explorer: Explorer) -> None:
    """Headers entered in one tab hold in every other, in a new one and in one from the history."""
    explorer.open()
    changed = f'{{"Authorization": "Bearer {explorer.server.api_key}", "X-Note": "mine"}}'
    explorer.paste_headers(changed)
    explorer.run_query()
    expect(explorer.response).to_contain_text("Demo marketplace")

    explorer.page.get_by_role("tab").nth(1).click()
    expect(explorer.headers).to_contain_text(changed)
    explorer.page.get_by_role("button", name="New tab").click()
    expect(explorer.headers).to_contain_text(changed)
    explorer.page.reload()
    explorer.page.get_by_label("API key").fill(explorer.server.api_key)
    explorer.page.get_by_role("button", name="Use this key").click()
    explorer.page.get_by_role("button", name="Show History").click()
    explorer.page.get_by_role("region", name="History").get_by_text("LedgersAndBalances").click()
    expect(explorer.headers).to_contain_text(f"Bearer {explorer.server.api_key}")
