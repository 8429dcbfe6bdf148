"""Plain HTTP routes beside Gradio's, on one server and login."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from api.web.compression import LEAST_BYTES, LEVEL, CompressPages
from api.web.login import check_login
from api.web.tools import offer_tools
from api.web.visitor_limit import Door


def serve(
    page: gr.Blocks,
    routers: Sequence[APIRouter] = (),
    *,
    open_to_all: APIRouter,
    door: Door | None = None,
    **options: object,
) -> object:
    """Launch the page with more routes.

    They come before Gradio's own, which has one that takes any path. They are given to the very application `launch`
    makes. So it is `launch` that runs, which a Space hooks into, and what it sets up (queue, login, blocked paths,
    allowed origins) stays as it is.

    Args:
        page: Its queue is open already.
        routers: Routes for those who have logged in, if there is a login: on the page, or by HTTP's basic scheme.
        open_to_all: Routes for everybody.
        door: What each of Gradio's own routes asks before it acts.
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
    compression = Middleware(CompressPages, minimum_size=LEAST_BYTES, compresslevel=LEVEL)
    app = {"routes": [*open_to_all.routes, *guarded.routes], "lifespan": lifespan, "middleware": [compression]}
    if door is not None:
        app["dependencies"] = [Depends(door, scope="function")]
    options["mcp_server"] = bool(options.get("mcp_server")) and not options.get("auth")
    return page.launch(app_kwargs=app, ssr_mode=False, **options)
