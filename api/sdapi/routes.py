"""Routes `/sdapi/v1` and `/controlnet` for clients of AUTOMATIC1111's API."""

import asyncio
import binascii
import logging
import secrets
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Any

import gradio as gr
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from gradio.context import LocalContext
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api.sdapi import lists
from api.sdapi.answers import answer, collect, progress_of
from api.sdapi.calls import Calls, OpenCall, TooManyCallsError
from api.sdapi.faults import detail_of, details_of_body
from api.sdapi.mapping import chosen_model, read_call
from api.sdapi.models import Img2Img, Options, Txt2Img
from pipelines.plan import catalog
from pipelines.plan.errors import UserError
from pipelines.plan.settings import Settings, use_settings
from studio.device_leases import LendingError
from studio.faults import OUR_FAULT
from studio.studio import Studio

MAX_BODY_BYTES = 96 << 20
"""Of one call; the largest have a handful of pictures in base64."""

_LOOK_AGAIN_S = 1.0
_log = logging.getLogger(__name__)


class _Route(APIRoute):
    """A route with password check, bounded body and errors without values.

    Its calls run with the settings of the studio.
    """

    config: Settings

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's own handler."""
        handle = super().get_route_handler()

        async def handle_checked(request: Request) -> Response:
            if not _may_enter(request, self.config.sdapi_auth):
                return _refused(401, "user and password must be given, got none or others.", ask=True)
            LocalContext.request.set(gr.Request(request))  # where ZeroGPU looks up whose quota counts
            try:
                with use_settings(self.config):
                    return await handle(Request(request.scope, _bounded(request.receive)))
            except RequestValidationError as err:
                return JSONResponse({"detail": details_of_body(err.errors())}, 422)
            except (LendingError, TooManyCallsError) as err:  # not the caller's fault, who may try again
                return _refused(503, str(err))
            except UserError as err:
                return JSONResponse({"detail": [detail_of(err)]}, 422)
            except HTTPException:
                raise
            except Exception:
                _log.exception("A call failed.")
                return _refused(500, OUR_FAULT)

        return handle_checked


def sdapi_router(studio: Studio) -> APIRouter:
    """Build the routes to a studio."""
    router = APIRouter(route_class=type("StudioRoute", (_Route,), {"config": studio.settings}))
    calls = Calls(studio.make_clip)
    selected = {"base_model": ""}

    def base_model() -> str:
        return selected["base_model"] or catalog.default_base_model().id

    async def txt2img(body: Txt2Img, request: Request) -> dict[str, object]:
        return await _generate(calls, "txt2img", body, base_model(), request)

    async def img2img(body: Img2Img, request: Request) -> dict[str, object]:
        return await _generate(calls, "img2img", body, base_model(), request)

    def interrupt() -> dict[str, object]:
        calls.interrupt()
        return {}

    def progress(skip_current_image: bool = False) -> dict[str, object]:
        return progress_of(calls.current(), calls.count(), with_picture=not skip_current_image)

    def options() -> dict[str, object]:
        return lists.options(base_model())

    def set_options(body: Options) -> None:
        selected["base_model"] = chosen_model(body) or selected["base_model"]

    for function in (txt2img, img2img, interrupt):
        router.post(f"/sdapi/v1/{function.__name__}")(function)
    router.post("/sdapi/v1/options")(set_options)
    router.get("/sdapi/v1/options")(options)
    router.get("/sdapi/v1/progress")(progress)
    _add_lists(router)
    return router


async def _generate(
    calls: Calls, name: str, body: Txt2Img | Img2Img, base_model: str, request: Request
) -> dict[str, object]:
    """Generate a call's clips in a thread; stop on disconnect."""
    call = await run_in_threadpool(read_call, body, base_model=base_model)
    waiting = OpenCall(name, len(call.requests))
    work = asyncio.ensure_future(run_in_threadpool(calls.run, waiting, call.requests, collect))
    while not (await asyncio.wait([work], timeout=_LOOK_AGAIN_S))[0]:
        waiting.is_interrupted = waiting.is_interrupted or await request.is_disconnected()
    return await run_in_threadpool(answer, call, body.model_dump(), work.result())


def _add_lists(router: APIRouter) -> None:
    scripts = {"txt2img": list(lists.SCRIPTS), "img2img": list(lists.SCRIPTS)}
    answers: dict[str, Callable[[], object]] = {
        "samplers": lists.samplers,
        "schedulers": lists.schedulers,
        "sd-models": lists.sd_models,
        "sd-vae": lists.sd_vaes,
        "loras": lists.loras,
        "upscalers": lists.upscalers,
        "latent-upscale-modes": lambda: [{"name": "Latent"}],
        "scripts": lambda: scripts,
        "script-info": lists.script_info,
        "memory": lists.memory,
        "cmd-flags": dict,
        "embeddings": lambda: {"loaded": {}, "skipped": {}},
    }
    answers |= dict.fromkeys(("hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles"), list)
    for name, answer_list in answers.items():
        router.get(f"/sdapi/v1/{name}")(_without_parameters(answer_list))
    for name in ("checkpoints", "vae", "loras", "embeddings"):  # every list is read anew whenever it is asked for
        router.post(f"/sdapi/v1/refresh-{name}")(_without_parameters(dict))
    router.get("/controlnet/version")(lambda: {"version": 3})
    router.get("/controlnet/model_list")(lambda: {"model_list": lists.control_models()})
    router.get("/controlnet/module_list")(lambda: {"module_list": lists.control_modules()})


def _without_parameters(function: Callable[[], object]) -> Callable[[], object]:
    return lambda: function()


def _may_enter(request: Request, expected: SecretStr | None) -> bool:
    """Whether the caller knows the password, compared in constant time."""
    if not expected:
        return True
    scheme, _, packed = request.headers.get("authorization", "").partition(" ")
    try:
        credentials = b64decode(packed, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        credentials = b""
    return secrets.compare_digest(credentials, expected.get_secret_value().encode())


def _refused(status: int, text: str, *, ask: bool = False) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Basic realm="AnimateDiff Studio"'} if ask else None
    return JSONResponse({"detail": text}, status, headers)


def _bounded(receive: Receive) -> Receive:
    """Limit a body's actual size, whatever its header says."""
    num_bytes = 0

    async def bounded() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > MAX_BODY_BYTES:
            raise HTTPException(413, f"The body must have at most {MAX_BODY_BYTES >> 20} MiB, got more.")
        return message

    return bounded
