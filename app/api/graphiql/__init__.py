"""GraphiQL, the API explorer for the browser, with everything it needs from this server alone.

`page/` holds the page's source, `page/rebuild` turns it into `assets/`: file names carry a hash of
the content, so browsers keep them for good; what compresses is stored gzipped. `examples/` holds
the documents its tabs open with; a change there takes no rebuild.
"""

import gzip
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

_FOLDER = Path(__file__).parent

_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "worker-src 'self'",
    "style-src 'self' 'unsafe-inline'",  # its editor, Monaco, writes its themes so
    "font-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
_HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NEVER_KEPT = {**_HEADERS, "Cache-Control": "no-store"}
_KEPT_FOR_GOOD = {**_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}

# The system's own table differs from one machine to the next.
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A document that GraphiQL opens in a tab, with its variables as JSON text."""

    query: str
    variables: str | None


def examples() -> list[Example]:
    """The documents of GraphiQL's tabs, in the order of the tabs."""
    return [
        Example(
            query=document.read_text(encoding="utf-8"),
            variables=variables.read_text(encoding="utf-8") if variables.exists() else None,
        )
        for document in sorted((_FOLDER / "examples").glob("*.graphql"))
        for variables in [document.with_suffix(".variables.json")]
    ]


def routes() -> list[BaseRoute]:
    """What serves GraphiQL: the page, its tabs, its assets."""
    page = (_FOLDER / "assets" / "index.html").read_bytes()
    tabs = json.dumps([asdict(example) for example in examples()]).encode()
    assets = {
        file.name.removesuffix(".gz"): file
        for file in (_FOLDER / "assets").iterdir()
        if file.name != "index.html"
    }

    async def get_page(_request: Request) -> Response:
        return Response(page, media_type="text/html", headers=_NEVER_KEPT)

    async def get_examples(_request: Request) -> Response:
        return Response(tabs, media_type="application/json", headers=_NEVER_KEPT)

    def get_asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            return Response("Not Found", 404, media_type="text/plain", headers=_NEVER_KEPT)
        return _asset(name, assets[name], accepted=request.headers.get("accept-encoding", ""))

    return [
        Route("/graphiql", get_page),
        Route("/graphiql/examples.json", get_examples),
        Route("/graphiql/assets/{name}", get_asset),
    ]


def _asset(name: str, file: Path, accepted: str) -> Response:
    media_type = _MEDIA_TYPES[PurePath(name).suffix]
    headers = dict(_NEVER_KEPT if name == "LICENSES.txt" else _KEPT_FOR_GOOD)
    if file.suffix != ".gz":
        return FileResponse(file, media_type=media_type, headers=headers)
    headers["Vary"] = "Accept-Encoding"
    if "gzip" not in accepted:
        return Response(gzip.decompress(file.read_bytes()), media_type=media_type, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return FileResponse(file, media_type=media_type, headers=headers)
