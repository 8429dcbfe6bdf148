"""Entry point of the Space and of `make run`: one page, one endpoint, one engine."""

import spaces  # noqa: F401 # isort: skip - must come before anything that could start CUDA

import os
import tempfile
from pathlib import Path

from pipelines.plan.gpu import ask_ahead

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
ask_ahead()  # another process loads PyTorch meanwhile, where there may be a GPU

from api.sdapi.routes import sdapi_router
from api.web.health import health_router
from api.web.routes import serve
from api.web.visitor_limit import open_line
from pipelines.plan.catalog import default_base_model
from pipelines.plan.settings import DROPPED_DIR, GALLERY_DIR, INPUTS_DIR, settings
from studio.device_queue import DeviceQueue
from studio.engine_start import warm
from studio.jobs import Jobs
from studio.limits import within_limits
from studio.start_checks import checked_settings
from studio.zero_gpu import lent_engine, lent_preview, on_zero_gpu, preload
from ui.page import build_page
from ui.theme import page_looks

_ROOT = Path(__file__).resolve().parent


def launch_options() -> dict[str, object]:
    """Build arguments for `launch`: looks, port, login, privacy."""
    config = settings()
    return {
        **page_looks(),
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


_settings = checked_settings()
if os.environ.get("SPACE_ID"):  # a Space is reached through its platform's proxy, which says whom it serves
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")
_dropped = tempfile.TemporaryDirectory(prefix="dropped-", ignore_cleanup_errors=True)  # goes with the process
_inputs = tempfile.TemporaryDirectory(prefix="inputs-", ignore_cleanup_errors=True)
_gallery = tempfile.TemporaryDirectory(prefix="gallery-", ignore_cleanup_errors=True)
os.environ.setdefault(DROPPED_DIR, _dropped.name)  # before worker processes are forked
os.environ[INPUTS_DIR] = str(_settings.inputs_dir or _inputs.name)
os.environ[GALLERY_DIR] = str(_settings.gallery_dir or _gallery.name)
_limit_s, _device = _settings.max_gpu_seconds, DeviceQueue()
_make_clip = _device.exclusive(lent_engine(limit_s=_limit_s))
_jobs = Jobs(most=_settings.queue_size, most_of_one=_settings.max_per_visitor or None)
demo = build_page(_make_clip, _device.exclusive(lent_preview(limit_s=_limit_s)), _jobs)
_door = open_line(demo, _settings, _jobs)

if on_zero_gpu():
    preload(default_base_model().id)

if __name__ == "__main__":
    warm()
    # Other programs' API has a password of its own or the page's; in public it is there only with one of them.
    behind_login, open_to_all = [], health_router(demo, _device)
    if _settings.sdapi_auth:
        open_to_all.include_router(sdapi_router(within_limits(_make_clip)))
    elif _settings.auth or not os.environ.get("SPACE_ID"):
        behind_login.append(sdapi_router(within_limits(_make_clip)))
    serve(demo, behind_login, open_to_all=open_to_all, door=_door, **launch_options())
