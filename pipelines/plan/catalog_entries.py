"""Catalog entries: what is known of a model before it is loaded."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict
from zlib import crc32

from pipelines.plan.choices import MotionNorm, Scheduler
from pipelines.plan.motion_families import FAMILIES, MotionFamily
from pipelines.plan.prompt.tags import tag_name

ASSETS = Path(__file__).resolve().parents[2] / "assets"
Source = Literal["folder", "hub", "local"]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A weights file as its publisher has it on the Hub.

    Args:
        name: Its path in the repository.
        bytes: Its length; None where no public source states it.
        sha256: Of its content, in hex; None where no public source states it.
    """

    name: str
    bytes: int | None = None
    sha256: str | None = None


class FileFields(TypedDict):
    """Fields of an entry outside the catalog, told by its file's place."""

    id: str
    label: str
    description: str
    source: Source
    repo: str
    file: str | None
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Common fields of all catalog entries.

    Args:
        id: The stable name that requests and recipes carry.
        label: What people call it.
        description: One plain line: what it can do.
        source: Where `repo` is: a folder of `assets`, a repository of the Hub, or a path on this disk
            inside the operator's models folder.
        repo: See `source`.
        file: The weights file in the repository, for single-file models; None for a diffusers folder.
        revision: Branch, tag or commit on the Hub.
        licence: The licence of the weights.
        size_mb: How much is downloaded, MB; None where it is not known or nothing is.
        files: Those of its files on the Hub whose length or sha256 is known.
        aliases: Names of files that other programs have the same weights under.
        family: Which base models and motion modules fit together; None until the file has been read.
    """

    id: str
    label: str
    description: str
    source: Source
    repo: str
    licence: str
    family: str | None = None
    file: str | None = None
    revision: str = "main"
    size_mb: int | None = None
    files: tuple[PublishedFile, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Path of a `folder` or `local` source, perhaps a single file."""
        return ASSETS / self.repo if self.source == "folder" else Path(self.repo)

    @property
    def names(self) -> tuple[str, ...]:
        """Names it may be called by, the recommended one first."""
        return (self.id,)

    @property
    def version(self) -> object:
        """Cache key of the loaded model; a changed local file differs."""
        return (self, self.folder.stat().st_mtime_ns if self.source == "local" else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel(Entry):
    """A model that draws pictures, with the settings it looks best at.

    Args:
        width, height: Pixels.
        num_inference_steps, guidance_scale, scheduler, motion_module, context_length: As in the request.
        smallest_share: Of that width and height, the least at which it still draws what it is asked for.
    """

    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: Scheduler
    motion_module: str
    context_length: int
    smallest_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModule(Entry):
    """A model that makes pictures move.

    Args:
        motion_family: How it must be run, by an id of `motion_families`; None until the file has been read.
        motion_norm: Whose norm it was trained with, if not the original's.
    """

    motion_family: str | None = None
    motion_norm: MotionNorm | None = None

    @property
    def known_family(self) -> MotionFamily | None:
        """The record of its family; None until the file has been read."""
        return FAMILIES[self.motion_family] if self.motion_family else None

    @property
    def settings(self) -> dict[str, object]:
        """Fields of the request it decides where the user does not."""
        family_settings = self.known_family.settings if self.known_family else {}
        return family_settings | ({"motion_norm": self.motion_norm} if self.motion_norm else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora(Entry):
    """A LoRA or textual inversion (the file tells), tagged `<lora:id:0.8>`.

    Args:
        weight: How much of it looks best.
        tags: Of a local file: the names by which tags mean it and no other, the one to recommend first.
    """

    weight: float = 1.0
    tags: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """See `tags`; elsewhere its id and what its publisher calls it."""
        return self.tags or (self.id, *self.aliases)


def tell_apart(loras: Sequence[Lora]) -> tuple[Lora, ...]:
    """Give local files distinct names for tags to find them.

    A tag means a file by its name without the ending, as other programs call it, or by its path in the models folder.
    Names that no tag can have are spelt as `tag_name` does. Of namesakes the first has the name, one that is spelt
    so before others; who has neither gets a number behind its name.
    """
    spelt = [[Path(lora.id).stem, lora.id] if lora.source == "local" else list(lora.names) for lora in loras]
    owners: dict[str, int] = {}
    for is_exact in (True, False):
        for number, names in enumerate(spelt):
            for name in names:
                if (tag_name(name) == name) is is_exact:
                    owners.setdefault(tag_name(name), number)
    owners.pop("", None)

    def tags(number: int) -> tuple[str, ...]:
        spellings = dict.fromkeys(name for name in map(tag_name, spelt[number]) if owners.get(name) == number)
        return tuple(spellings) or (f"{tag_name(spelt[number][0])}~{crc32(os.fsencode(loras[number].repo)):08x}",)

    return tuple(
        replace(lora, tags=tags(number)) if lora.source == "local" else lora for number, lora in enumerate(loras)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vae(Entry):
    """A VAE to use in place of the base model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlNet(Entry):
    """A ControlNet or SparseCtrl encoder; which of both, the file tells.

    Args:
        preprocessors: Ids of what makes pictures it can follow, the best first; "none" takes them as they are.
    """

    preprocessors: tuple[str, ...] = ("none",)


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAdapter(Entry):
    """A model that takes pictures as prompts.

    Args:
        image_encoder: The folder in its repository with the image encoder it needs; None for a file on this disk,
            which has one in a folder `image_encoder` beside it or uses the catalog's.
    """

    image_encoder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaler(Entry):
    """A super-resolution network; its architecture and factor are read off the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolator(Entry):
    """A TorchScript network that draws frames in between.

    It is run as it is, so its origin must be known: the catalog's, by a fixed commit, or the operator's own file.
    """
