"""Build a clip's conditions from its request and inputs."""

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.steering.conditions import Conditions, Control
from pipelines.engine.steering.control.dense import DenseControl
from pipelines.engine.steering.control.plan import ControlPlan, plan_control
from pipelines.engine.steering.control.sparse import SparseControl
from pipelines.engine.steering.control.store import LoadedControl
from pipelines.engine.steering.image_prompts import LoadedAdapter, PicturePrompt, PicturePrompts
from pipelines.plan.clip_inputs import ClipInputs, FrameClip
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.model_files.kinds import WeightsKind
from pipelines.plan.request import GenerationRequest


def check_steering(request: GenerationRequest, inputs: ClipInputs) -> None:
    """Refuse unusable control units and image prompts before loading models.

    Raises:
        InvalidRequestError: A unit has nothing to follow or to show, or not what its key frames and the clip need.
    """
    _plan_controls(request, inputs)
    counts = [len(pictures) for pictures in inputs.image_prompts]
    expected = [len(unit.pictures) for unit in request.image_prompts]
    if counts != expected:
        raise InvalidRequestError(
            Fault(
                code="image_prompt.pictures_missing",
                field="image_prompts",
                rule="have all their pictures, {limit}",
                got=sum(counts),
                fix="Choose them again",
                limit=sum(expected),
            )
        )
    for unit in request.image_prompts:
        keys = [frame for frame, _ in unit.pictures]
        if len(set(keys)) != len(keys) or not all(0 <= key < request.num_frames for key in keys):
            raise InvalidRequestError(
                Fault(
                    code="image_prompt.frames_of_pictures",
                    field="image_prompts",
                    rule="have pictures at different frames from 0 to {limit}",
                    got=", ".join(map(str, keys)),
                    seen="{got:s} for '{model:s}'",
                    fix="Change 'Pictures'",
                    limit=request.num_frames - 1,
                    values={"model": unit.model},
                )
            )


def build_conditions(
    request: GenerationRequest,
    inputs: ClipInputs,
    *,
    controls: tuple[LoadedControl, ...],
    adapters: tuple[LoadedAdapter, ...],
    vae: AnyVae,
) -> Conditions:
    """Build the conditions that steer a clip's UNet calls.

    Args:
        controls: The model of each of the request's control units.
        adapters: The model of each of its image prompts.
        vae: Makes latents of the pictures that a SparseCtrl shows.

    Raises:
        InvalidRequestError: As `check_steering`; or a SparseCtrl can't do what its unit asks for.
    """

    def built(loaded: LoadedControl, plan: ControlPlan, clip: FrameClip) -> Control:
        if loaded.files.kind is WeightsKind.SPARSE_CTRL:
            return SparseControl(loaded.net, plan, clip, vae=vae, request=request)
        return DenseControl(loaded.net, plan, clip)

    plans = _plan_controls(request, inputs)
    prompts = [
        PicturePrompt(adapter, unit, pictures, request)
        for adapter, unit, pictures in zip(adapters, request.image_prompts, inputs.image_prompts, strict=True)
    ]
    return Conditions(tuple(map(built, controls, plans, inputs.controls)), PicturePrompts(prompts) if prompts else None)


def weights_of(controls: tuple[LoadedControl, ...], adapters: tuple[LoadedAdapter, ...]) -> dict[str, str]:
    """Map the loaded models to their sha256, for the run's key."""
    weights = {f"control {loaded.files.entry.id}": loaded.sha256 for loaded in controls}
    for adapter in adapters:
        weights |= adapter.weights
    return weights


def _plan_controls(request: GenerationRequest, inputs: ClipInputs) -> tuple[ControlPlan, ...]:
    if len(inputs.controls) != len(request.controls):
        raise InvalidRequestError(
            Fault(
                code="control.clip_missing",
                field="controls",
                rule="have a clip or picture for each of the {limit} units",
                got=len(inputs.controls),
                fix="Give each unit its own, or a source clip",
                limit=len(request.controls),
            )
        )
    return tuple(
        plan_control(unit, request, pictures=clip.num_frames)
        for unit, clip in zip(request.controls, inputs.controls, strict=True)
    )
