"""Models placed as on a Space that is lent its device, and packed by `spaces` itself: prints the bytes as JSON.

`python -m tests.app.zero_gpu_packing FOLDER`: what is packed lies in the folder.
"""

import json
import os
import sys

from tests.app.zero_gpu import start_platform


def main(folder: str) -> None:
    """Place the demo model with a motion module that has no middle block, as `preload` does, and pack."""
    start_platform()
    os.environ["ZEROGPU_OFFLOAD_DIR"] = f"{folder}/offload"
    import spaces.zero.torch as zero

    from pipelines.engine.generate import default_store

    found = default_store().load("demo", "demo-v3")
    networks = (*found.text_encoders, found.vae, found.unet)
    tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
    placed = sum(tensor.nbytes for tensor in tensors if tensor.device.type == "cuda")
    elsewhere = [tensor for tensor in tensors if tensor.device.type != "cuda"]
    idle = sum(tensor.nbytes for tensor in elsewhere)
    kept = sum(tensor.untyped_storage().nbytes() for tensor in elsewhere)
    told = {"placed": placed, "packed": zero.pack(), "idle": idle, "kept": kept}
    print(json.dumps(told), flush=True)  # noqa: T201
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
