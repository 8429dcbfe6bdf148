"""Split sequences in sd-webui-animatediff's folders `image` and `mask`."""

import re
from collections.abc import Sequence

from media.input_files import BadInputError
from pipelines.plan.faults import Fault

_FOLDERS = ("image", "mask")


def brings_masks(names: Sequence[str]) -> bool:
    """Tell whether there are pictures in a folder `mask`.

    Example:
        >>> brings_masks(["take/image/1.png", "take/mask/1.png"]), brings_masks(["image/1.png"])
        (True, False)
    """
    return bool(_in_folder(names, _FOLDERS[1]))


def split_image_and_mask(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find the pictures and the masks, in folders at any depth.

    They belong together by their order: the third mask is the third picture's, whatever they are called.

    Args:
        names: Of all pictures, in order, with their folders.

    Raises:
        BadInputError: There are not both, or not as many of one as of the other.
    """
    images, masks = (_in_folder(names, folder) for folder in _FOLDERS)
    if not images or len(images) != len(masks):
        raise BadInputError(
            Fault(
                code="image_and_mask.counts_differ",
                rule="have folders image and mask with as many pictures each",
                got=(len(images), len(masks)),
                fix="Add what is missing",
                values={"images": len(images), "masks": len(masks)},
                seen="{images:,} and {masks:,}",
            )
        )
    return images, masks


def _in_folder(names: Sequence[str], folder: str) -> list[str]:
    return [name for name in names if [part.lower() for part in re.split(r"[/\\]", name)[:-1]][-1:] == [folder]]
