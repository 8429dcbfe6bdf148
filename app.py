"""Entry point of the Space and of `make run`: one studio, its page and endpoints."""

import spaces  # noqa: F401 # isort: skip - must come before anything that could start CUDA

import os
import tempfile
from pathlib import Path

from pipelines.plan.gpu import ask_ahead
from studio.library_environment import set_for_page

set_for_page()
ask_ahead()  # another process loads PyTorch meanwhile, where there may be a GPU

import gradio as gr

from api.sdapi.routes import sdapi_router
from api.web.health import health_router
from api.web.routes import serve
from api.web.visitor_limit import open_line
from pipelines.plan.catalog import default_base_model
from pipelines.plan.settings import use_settings
from studio.device_queue import DeviceQueue
from studio.engine_start import warm
from studio.start_checks import checked_settings
from studio.studio import Studio, open_studio
from studio.zero_gpu import on_zero_gpu, preload
from ui.page import build_page
from ui.theme import page_looks

_ROOT = Path(__file__).resolve().parent


def serve_page(page: gr.Blocks, studio: Studio, **options: object) -> object:
    """Serve a studio's page with all other routes; return what `launch` does.

    Other programs' API has a password of its own or the page's; in public it is there only with one of them.
    """
    door = open_line(page, studio)
    behind_login, open_to_all = [], health_router(page, studio.device)
    if studio.settings.sdapi_auth:
        open_to_all.include_router(sdapi_router(studio))
    elif studio.settings.auth or not os.environ.get("SPACE_ID"):
        behind_login.append(sdapi_router(studio))
    return serve(page, behind_login, open_to_all=open_to_all, door=door, **launch_options(studio) | options)


def launch_options(studio: Studio) -> dict[str, object]:
    """Build arguments for `launch`: looks, port, login, privacy."""
    config = studio.settings
    with use_settings(config):
        looks = page_looks()
    return {
        **looks,
        "server_port": config.port,
        "auth": config.login,
        "max_file_size": f"{config.max_upload_mb}mb",
        "allowed_paths": [],
        "blocked_paths": private_paths(),
        "enable_monitoring": False,
        "strict_cors": True,
        "show_error": False,
        "footer_links": ["api", "settings"],
        "run_history": False,
        "mcp_server": True,
    }


def private_paths() -> list[str]:
    """List paths beside this file that must not be served.

    Folders with gradio's own files stay readable.
    """
    served = [Path(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir())), _ROOT / ".gradio"]
    served = [folder.resolve() for folder in served]
    return [str(path) for path in sorted(_ROOT.iterdir()) if not any(folder.is_relative_to(path) for folder in served)]


studio = open_studio(checked_settings(), DeviceQueue())
demo = build_page(studio)

if on_zero_gpu():
    preload(default_base_model().id)

if __name__ == "__main__":
    warm()
    serve_page(demo, studio)
