"""Plain HTTP routes beside Gradio's, on one server and login."""

import secrets
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, status

from api.web.tools import offer_tools


def serve(page: gr.Blocks, routers: Sequence[APIRouter] = (), *, open_to_all: APIRouter, **options: object) -> object:
    """Launch the page with more routes.

    They come before Gradio's own, which has one that takes any path. They are given to the very application `launch`
    makes. So it is `launch` that runs, which a Space hooks into, and what it sets up (queue, login, blocked paths,
    allowed origins) stays as it is.

    Args:
        page: Its queue is open already.
        routers: Routes for those who have logged in, if there is a login: on the page, or by HTTP's basic scheme.
        open_to_all: Routes for everybody.
        options: As `launch` takes them. With a login there is no MCP server: Gradio's lets everybody in, and can't log
            in itself to what it calls.

    Returns:
        What `launch` returns.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        offer_tools(page)
        yield

    guarded = APIRouter(dependencies=[Depends(check_login)])
    for router in routers:
        guarded.include_router(router)
    # A Space would put a Node server in front, for rendering, which passes on Gradio's own paths alone.
    app = {"routes": [*open_to_all.routes, *guarded.routes], "lifespan": lifespan}
    options["mcp_server"] = bool(options.get("mcp_server")) and not options.get("auth")
    return page.launch(app_kwargs=app, ssr_mode=False, **options)


def check_login(request: Request) -> None:
    """Refuse a request without the login, if there is one.

    Raises:
        HTTPException: 401; it has not.
    """
    app = request.app
    if app.auth is None or _cookie(request) in app.tokens or _knows_password(request, app.auth):
        return
    raise HTTPException(
        status.HTTP_401_UNAUTHORIZED,
        "login must be given, got none or another. Log in on the page, or send user and password.",
        headers={"WWW-Authenticate": 'Basic realm="AnimateDiff Studio"'},
    )


def _cookie(request: Request) -> str | None:
    names = (f"access-token-{request.app.cookie_id}", f"access-token-unsecure-{request.app.cookie_id}")
    return next((request.cookies[name] for name in names if name in request.cookies), None)


def _knows_password(request: Request, passwords: dict[str, str]) -> bool:
    scheme, _, packed = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = b64decode(packed, validate=True).decode().partition(":")
    except ValueError:
        return False
    # Always compared, and in the same time for every guess.
    return secrets.compare_digest(password.encode(), passwords.get(user, "").encode()) and user in passwords
