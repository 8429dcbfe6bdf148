"""Tiny ONNX networks with the inputs and outputs of DWPose's, which see coloured dots instead of people."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

SIDE, CELL = 640, 32  # pixels of the detector's picture, and of a cell of its coarsest grid
CROP_WIDTH, CROP_HEIGHT = 288, 384
NUM_POINTS = 133
_FINER_CELLS = 80 * 80 + 40 * 40  # of the two finer grids
_LOST = 1e-3


def detector(*, width: float, height: float, person: bool = True, channels: int = 85) -> ModelProto:
    """Finds a box around every cell of 32 pixels that is blue, in a picture whose colours are BGR.

    Args:
        width, height: Of its boxes, pixels of its picture.
        person: Whether it takes blue for a person, or for the next of its kinds.
        channels: How many numbers it gives for a cell.
    """
    box = np.zeros((1, channels, 1), np.float32)
    box[0, :6, 0] = 0.5, 0.5, np.log(width / CELL), np.log(height / CELL), 0, 1  # in the middle of the cell
    if not person:
        box[0, 5:7, 0] = 0, 1
    certainty = np.zeros((1, channels, 1), np.float32)
    certainty[0, 4] = 1 / 255
    nodes = [
        helper.make_node("Slice", ["images", "begin", "end", "channel_axis"], ["blue"]),
        helper.make_node("AveragePool", ["blue"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["cells", "in_a_row"], ["row"]),
        helper.make_node("Mul", ["row", "certainty"], ["certain"]),
        helper.make_node("Add", ["certain", "box"], ["coarse"]),
        helper.make_node("Concat", ["finer", "coarse"], ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]),
    ]
    constants = {
        "begin": np.array([0]),
        "end": np.array([1]),
        "channel_axis": np.array([1]),
        "in_a_row": np.array([1, 1, -1]),
        "box": box,
        "certainty": certainty,
        "finer": np.zeros((1, channels, _FINER_CELLS), np.float32),
    }
    cells = _FINER_CELLS + (SIDE // CELL) ** 2
    return _model(nodes, constants, ("images", [1, 3, SIDE, SIDE]), [("output", [1, cells, channels])])


def estimator(offsets: Mapping[int, Sequence[int]]) -> ModelProto:
    """Finds a red dot in a crop whose colours are RGB, and says that points are beside it.

    Args:
        offsets: Point -> how far it is to the right of the dot and below it, half pixels of the crop. It finds
            no others.
    """
    nodes, constants = [], {"begin": np.array([0]), "end": np.array([1]), "channel_axis": np.array([1])}
    nodes.append(helper.make_node("Slice", ["input", "begin", "end", "channel_axis"], ["red"]))
    for axis, (name, length, other) in enumerate([("x", CROP_WIDTH, 2), ("y", CROP_HEIGHT, 3)]):
        steps = np.arange(2 * length)
        shifts = np.array([offsets.get(point, (0, 0))[axis] for point in range(NUM_POINTS)])
        constants[f"from_{name}"] = np.clip((steps - shifts[:, None]) // 2, 0, length - 1)
        sure = [1.0 if point in offsets else _LOST for point in range(NUM_POINTS)]
        constants[f"sure_{name}"] = np.array(sure, np.float32)[None, :, None]
        nodes += [
            helper.make_node("ReduceMax", ["red"], [f"line_{name}"], axes=[0, 1, other], keepdims=0),
            helper.make_node("Gather", [f"line_{name}", f"from_{name}"], [f"shifted_{name}"]),
            helper.make_node("Mul", [f"shifted_{name}", f"sure_{name}"], [f"simcc_{name}"]),
        ]
    outputs = [(f"simcc_{name}", [1, NUM_POINTS, 2 * length]) for name, length in [("x", 288), ("y", 384)]]
    return _model(nodes, constants, ("input", ["batch", 3, CROP_HEIGHT, CROP_WIDTH]), outputs)


def elsewhere(name: str) -> ModelProto:
    """A detector one of whose tensors lies in the file `name`."""
    model = detector(width=CELL, height=CELL)
    tensor = next(initializer for initializer in model.graph.initializer if initializer.name == "finer")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    return model


def _model(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    picture: tuple[str, list[int | str]],
    maps: list[tuple[str, list[int]]],
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(picture[0], TensorProto.FLOAT, picture[1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in maps],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model
