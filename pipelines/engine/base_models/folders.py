"""Diffusers folders of base models: download, and list their weights files."""

from pathlib import Path

from pipelines.engine.base_models.builds import Build
from pipelines.engine.weights.downloads import fetch
from pipelines.engine.weights.variants import NETWORK, TEXT, forms, weight_files
from pipelines.plan.catalog_entries import Entry
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault


def fetch_weights(entry: Entry, components: tuple[str, ...], *, field: str, half: bool) -> Path:
    """Fetch each component's weights in the best form available.

    Pickles are fetched only where there is nothing else.

    What is in the cache in any form is not fetched in another.

    Returns:
        The model's folder.

    Raises:
        WeightsError: As `fetch`.
    """
    folder = fetch(entry.repo, [f"{name}/config.json" for name in components], entry.revision, field=field)
    for choices in zip(*(tuple(forms(_stem(name), half=half)) for name in components), strict=True):
        lacking = {
            name: names
            for name, names in zip(components, choices, strict=True)
            if not _are_there(component_files(folder, name, half=half))
        }
        if not lacking:
            break
        filenames = [f"{name}/{file}" for name, files in lacking.items() for file in files]
        folder = fetch(entry.repo, filenames, entry.revision, field=field)
        if parts := [f"{name}/{file.name}" for name in lacking for file in _shards(folder, name, half=half)]:
            folder = fetch(entry.repo, parts, entry.revision, field=field)
    return folder


def component_files(folder: Path, component: str, *, half: bool) -> tuple[Path, ...]:
    """List a component's weights files in a diffusers folder; may be empty."""
    return weight_files(folder / component, _stem(component), half=half)


def folder_paths(entry: Entry, folder: Path, build: Build, *, field: str, half: bool) -> dict[str, tuple[Path, ...]]:
    """Map each component to its weights files, all of them present.

    Raises:
        WeightsError: A component has none, or lacks a shard.
    """
    paths = {}
    for name in build.components:
        files = component_files(folder, name, half=half)
        lacking = [file.name for file in files if not file.is_file()]
        if lacking or not files:
            there = sorted(file.name for file in (folder / name).glob("*") if file.suffix not in {".json", ".txt"})
            missing = lacking[0] if lacking else next(forms(_stem(name), half=False))[0]
            beside = " ({there:s} is there)" if there else ""
            raise WeightsError(
                Fault(
                    code="base_model.part_lacks_another" if there else "base_model.part_lacks",
                    field=field,
                    rule="be a whole diffusers folder",
                    got=entry.id,
                    seen=f"'{{got:s}}', whose {{part:s}} lacks {{file:s}}{beside}",
                    fix="Download it again or choose another",
                    values={"part": name, "file": missing, "there": ", ".join(there)},
                )
            )
        paths[name] = files
    return paths


def _stem(component: str) -> str:
    return TEXT if component.startswith("text_encoder") else NETWORK


def _shards(folder: Path, component: str, *, half: bool) -> tuple[Path, ...]:
    """List a component's files, if they come with an index."""
    files = component_files(folder, component, half=half)
    return files if any("-of-" in file.name for file in files) else ()


def _are_there(files: tuple[Path, ...]) -> bool:
    return bool(files) and all(file.is_file() for file in files)
