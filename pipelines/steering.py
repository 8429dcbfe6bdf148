"""From a request and its inputs to what steers its clip."""

from pipelines.clip_inputs import ClipInputs, FrameClip
from pipelines.conditions import Conditions, Control
from pipelines.control_frames import ControlPlan, plan_control
from pipelines.control_models import LoadedControl
from pipelines.control_nets import DenseControl
from pipelines.errors import InvalidRequestError
from pipelines.request import GenerationRequest
from pipelines.sparse_controls import SparseControl
from pipelines.vae_files import AnyVae
from pipelines.weight_kinds import WeightsKind


def plan_controls(request: GenerationRequest, inputs: ClipInputs) -> tuple[ControlPlan, ...]:
    """Lay out the control units of a request; needs no model, so that what can't be is refused at once.

    Raises:
        InvalidRequestError: A unit has nothing to follow, or not what its key frames and the clip need.
    """
    if len(inputs.controls) != len(request.controls):
        raise InvalidRequestError(
            f"controls must have a clip or picture for each of the {len(request.controls)} units, "
            f"got {len(inputs.controls)}. Give each unit its own, or a source clip."
        )
    return tuple(
        plan_control(unit, request, pictures=clip.num_frames)
        for unit, clip in zip(request.controls, inputs.controls, strict=True)
    )


def build_conditions(
    request: GenerationRequest, inputs: ClipInputs, *, controls: tuple[LoadedControl, ...], vae: AnyVae
) -> Conditions:
    """What steers a clip: the loop asks it at every call of the UNet.

    Args:
        controls: The model of each of the request's control units.
        vae: Makes latents of the pictures that a SparseCtrl shows.

    Raises:
        InvalidRequestError: As `plan_controls`; or a SparseCtrl can't do what its unit asks for.
    """

    def built(loaded: LoadedControl, plan: ControlPlan, clip: FrameClip) -> Control:
        if loaded.files.kind is WeightsKind.SPARSE_CTRL:
            return SparseControl(loaded.net, plan, clip, vae=vae, request=request)
        return DenseControl(loaded.net, plan, clip)

    plans = plan_controls(request, inputs)
    return Conditions(tuple(map(built, controls, plans, inputs.controls)))


def weights_of(controls: tuple[LoadedControl, ...]) -> dict[str, str]:
    """What was read for them -> sha256, for the key of a run."""
    return {f"control {loaded.files.entry.id}": loaded.sha256 for loaded in controls}
