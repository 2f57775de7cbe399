"""The page at `/docs`: Swagger UI with local assets; it loads nothing from another host.

Its links are relative to the page, so that it works behind a proxy that strips a prefix. The
service neither needs nor trusts `X-Forwarded-Prefix`.
"""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.http.security_headers import policy_of_page

_PAGE, _ASSETS = "/docs", "/docs/assets"
_SCRIPT, _STYLE = f"{_ASSETS}/swagger-ui-bundle.js", f"{_ASSETS}/swagger-ui.css"
_ICON = f"{_ASSETS}/favicon.png"
DOCS_PATHS = (_PAGE, _SCRIPT, _STYLE, _ICON)
"""The page and its assets, without the OpenAPI document."""


def add_docs(app: FastAPI) -> None:
    """Add the page and its assets to an application."""
    page = get_swagger_ui_html(
        openapi_url=_relative(app.openapi_url or ""),
        title=app.title,
        swagger_js_url=_relative(_SCRIPT),
        swagger_css_url=_relative(_STYLE),
        swagger_favicon_url=_relative(_ICON),
    )
    headers = {"Content-Security-Policy": policy_of_page(bytes(page.body))}

    @app.get(_PAGE, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page.body, headers=headers)

    assets = files("fastapi_offline") / "static"
    app.mount(_ASSETS, StaticFiles(directory=str(assets)), name="assets")


def _relative(path: str) -> str:
    """Return a path relative to the page, which is at the root."""
    return f".{path}"
