"""ONNX networks, checked before onnxruntime opens and runs them.

An ONNX file is data and can't ask to run code, but it may name other files to read tensors from, and it may be
any network at all. Neither is followed: all of it must be in the one file, and its pictures and maps have the
shapes they should have.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

from pipelines.engine.weights.reading import not_whole
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

Maps = npt.NDArray[np.float32]

_FIELD = "controls"
_MOST_MB = 1000  # what is opened lies in memory twice for a moment
_REFUSALS = (  # they have no base in common but Exception
    refusals.Fail,
    refusals.InvalidArgument,
    refusals.InvalidGraph,
    refusals.InvalidProtobuf,
    refusals.NotImplemented,
    refusals.RuntimeException,
    ValueError,  # a name in it is no text
)


class OnnxNetwork:
    """Network of one ONNX file: a picture in, maps out.

    Args:
        path: The file.
        device: "cpu" or "cuda", which is used where this onnxruntime can.
        takes: The shape of its picture.
        gives: The shapes of its maps, in its order.

    Raises:
        WeightsError: The file is damaged, too large, needs other files, or is another network's.
    """

    def __init__(
        self, path: Path | None, device: str, *, takes: tuple[int, ...], gives: Sequence[tuple[int, ...]]
    ) -> None:
        assert path is not None, "what is always needed is fetched before"
        self._name = path.name
        self._gives = list(gives)
        self._session = self._open_session(path, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        declared = [value.shape for value in (*inputs, *outputs)]
        expected = [takes, *gives]
        if len(inputs) != 1 or len(declared) != len(expected) or not all(map(_fits_shape, declared, expected)):
            raise self._not_whole(f"its pictures and maps are {declared} where {expected} are needed")
        self._input = inputs[0].name

    def __call__(self, picture: Maps) -> list[Maps]:
        """Its maps of a picture, float32.

        Raises:
            WeightsError: They have other shapes than they should, or NaN or infinity.
        """
        try:
            maps: list[Maps] = self._session.run(None, {self._input: np.ascontiguousarray(picture)})
        except _REFUSALS as err:
            raise self._not_whole("it can't be run") from err
        shapes = [values.shape for values in maps]
        if shapes != self._gives:
            raise self._not_whole(f"its maps are {shapes} where {self._gives} are needed")
        if not all(np.isfinite(values).all() for values in maps):
            raise WeightsError(
                Fault(
                    code="preprocessor.no_finite_numbers",
                    field=_FIELD,
                    rule="have weights that give finite numbers",
                    got=f"'{self._name}', which gives NaN or infinity",
                    fix="Download it again or choose another preprocessor",
                    values={"name": self._name},
                )
            )
        return maps

    def _open_session(self, path: Path, device: str) -> onnxruntime.InferenceSession:
        if path.stat().st_size > _MOST_MB * 1e6:
            raise self._not_whole(f"it has more than {_MOST_MB} MB")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, too
        options.intra_op_num_threads = torch.get_num_threads()  # which device.py measured
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch computes on the same cores
        # Where a file says that its tensors are in others, those are looked for in this folder. There is nothing
        # in it, as it is a file. Without this, what is in the working directory would be read.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path))
        preferred = ["CUDAExecutionProvider"] * (device == "cuda") + ["CPUExecutionProvider"]
        available = onnxruntime.get_available_providers()
        providers = [name for name in preferred if name in available]
        try:
            # By its fallback it would print what is wrong and try the same again.
            return onnxruntime.InferenceSession(path.read_bytes(), options, providers, enable_fallback=False)
        except _REFUSALS as err:
            raise self._not_whole("it is damaged, or parts of it are in other files") from err

    def _not_whole(self, why: str) -> WeightsError:
        return not_whole(why, what="ONNX network", field=_FIELD, name=self._name)


def _fits_shape(declared: Sequence[object], expected: tuple[int, ...]) -> bool:
    """Tell whether a declared shape allows this one.

    A free side has a name instead of a number.
    """
    if len(declared) != len(expected):
        return False
    return all(not isinstance(side, int) or side == size for side, size in zip(declared, expected, strict=True))
