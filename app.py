"""Entry point of the Space and of `make run`: one page, one endpoint, one engine."""

import spaces  # noqa: F401 # isort: skip - must come before anything that could start CUDA

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

from api.control_preview import preview_clip
from api.engine import warm
from api.inputs import INPUTS_DIR
from api.one_device import OneDevice
from api.sdapi.routes import AUTH, sdapi_router
from api.zero_gpu import lend, lent_engine
from pipelines.catalog import DROPPED_DIR
from ui.page import build_page
from ui.theme import page_looks

DEFAULT_PORT = 7860
GPU_SECONDS = 60  # what one call may hold a ZeroGPU device; the platform refuses calls it deems too long
MOST_WAITING = 24
_ROOT = Path(__file__).resolve().parent


def launch_options() -> dict[str, Any]:
    """Arguments for `launch`: looks, port, and what a public server must not give away."""
    return {
        **page_looks(),
        "server_port": int(os.environ.get("GRADIO_SERVER_PORT", DEFAULT_PORT)),
        "max_file_size": "300mb",  # the largest LoRAs for Stable Diffusion 1.5
        "allowed_paths": [],
        "blocked_paths": private_paths(),
        "enable_monitoring": False,
        "strict_cors": True,
        "show_error": False,
        "footer_links": ["api", "settings"],
        "run_history": False,
    }


def private_paths() -> list[str]:
    """Everything beside this file, never served; but folders with gradio's own files must stay readable."""
    served = [Path(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir())), _ROOT / ".gradio"]
    return [
        str(path) for path in sorted(_ROOT.iterdir()) if not any(kept.resolve().is_relative_to(path) for kept in served)
    ]


_dropped = tempfile.TemporaryDirectory(prefix="dropped-")  # goes with the process
_inputs = tempfile.TemporaryDirectory(prefix="inputs-")
os.environ.setdefault(DROPPED_DIR, _dropped.name)  # before worker processes are forked
os.environ.setdefault(INPUTS_DIR, _inputs.name)
_device = OneDevice()
_make_clip = _device.alone(lent_engine(limit_s=GPU_SECONDS))
demo = build_page(_make_clip, _device.alone(lend(preview_clip, limit_s=GPU_SECONDS)))
demo.queue(max_size=MOST_WAITING, default_concurrency_limit=2, api_open=False)

if __name__ == "__main__":
    warm()
    more = {}
    if os.environ.get(AUTH) or not os.environ.get("SPACE_ID"):  # in public it needs a password
        # Given to `launch` they come before Gradio's own routes. A Space would put a Node server in front, which
        # knows those alone.
        more = {"app_kwargs": {"routes": sdapi_router(_make_clip).routes}, "ssr_mode": False}
    demo.launch(**launch_options(), **more)
