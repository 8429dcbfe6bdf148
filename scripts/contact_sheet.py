"""Tile the frames of clips into one picture: `python -m scripts.contact_sheet clip.mp4 -o sheet.jpg`."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from media.read import read_frames


def contact_sheet(frames: np.ndarray, *, columns: int, every: int = 1) -> np.ndarray:
    """Frames uint8 [F, H, W, 3] in rows, in the order of time, with black where the last row is not full."""
    shown = frames[::every]
    missing = -len(shown) % columns
    full = np.concatenate([shown, np.zeros((missing, *shown.shape[1:]), np.uint8)])
    rows, (height, width) = len(full) // columns, shown.shape[1:3]
    return full.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+", help="clips of one size, such as this app makes")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture")
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--every", type=int, default=1, help="show every n-th frame")
    args = parser.parse_args()
    sheets = [contact_sheet(read_frames(path), columns=args.columns, every=args.every) for path in args.clips]
    Image.fromarray(np.concatenate(sheets)).save(args.output, quality=85)


if __name__ == "__main__":
    main()
