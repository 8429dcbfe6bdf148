"""The service behind one page, composed of its settings."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.plan.settings import Settings
from studio.control_preview import MakePreview
from studio.device_queue import DeviceQueue
from studio.engine import MakeClip
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.limits import within_limits
from studio.zero_gpu import lent_engine, lent_preview, on_zero_gpu

_DAY_S = 24 * 3600


@dataclass(frozen=True)
class Studio:
    """All that a page and its endpoints are built on.

    Several may be served by one process; they share its device and models, and nothing else.

    Args:
        settings: The operator's, with a folder for everything that is kept.
        device: The line for the device, which all studios of a process share.
        jobs: Where the page starts and finds its clips.
        gallery: Where visitors' clips are kept.
        dropped_dir: The folder of LoRAs that visitors drop.
        make_clip: Makes the clip of a request in a folder, within the limits, and tells how it goes; closing it stops
            it. It waits for its turn on the device.
        make_preview: Makes what the first control unit of a request follows, in the same way.
        temporary: Holds the folders that the operator has not named; they go with the studio.
    """

    settings: Settings
    device: DeviceQueue
    jobs: Jobs
    gallery: Gallery
    dropped_dir: Path
    make_clip: MakeClip
    make_preview: MakePreview
    temporary: "TemporaryDirectory[str]"


def open_studio(config: Settings, device: DeviceQueue, *, make_clip: MakeClip | None = None) -> Studio:
    """Compose a studio.

    Args:
        config: The operator's settings.
        device: The line for the device.
        make_clip: The engine; this machine's own if not given.
    """
    temporary = TemporaryDirectory(prefix="studio-", ignore_cleanup_errors=True)
    names = ["inputs_dir", "gallery_dir", "dropped_dir"]
    if on_zero_gpu():  # a run must stand somewhere between two turns
        names.append("checkpoint_dir")
    folders: dict[str, Path] = {name: getattr(config, name) or Path(temporary.name, name) for name in names}
    config = config.model_copy(update=folders)
    return Studio(
        settings=config,
        device=device,
        jobs=Jobs(most=config.queue_size, most_of_one=config.max_per_visitor or None),
        gallery=Gallery(
            folders["gallery_dir"], int(config.gallery_max_gb * 1e9), max_age=config.gallery_max_days * _DAY_S
        ),
        dropped_dir=folders["dropped_dir"],
        make_clip=within_limits(device.exclusive(make_clip or lent_engine(config)), config),
        make_preview=within_limits(device.exclusive(lent_preview(config)), config),
        temporary=temporary,
    )
