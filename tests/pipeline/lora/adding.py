"""What the tests of LoRAs share: a small request, what it adds, and that this is exact."""

import pytest
import torch

from pipelines.engine.lora.merged import LoraPlan, find_loras, load_lora, plan_loras
from pipelines.engine.models import Components, applied
from pipelines.engine.prompt_states import TextStates, encode_prompts
from pipelines.plan.errors import WeightsError
from pipelines.plan.request import GenerationRequest
from tests.pipeline.lora import formats

MOTION = r"motion_modules.*attn[12]\.to_(q|k|v|out\.0)$"
SPATIAL = r"(?<!motion_modules)\.attentions\..*attn[12]\.to_(q|k|v|out\.0)$"
CONVOLUTIONS = (
    r"resnets.*\.(conv1|conv2|conv_shortcut|time_emb_proj)$|samplers\.0\.conv$|attentions\.\d\.proj_(in|out)$"
)


def small(prompt: str = "a fox", **settings) -> GenerationRequest:
    """A request that takes a moment, of the base model and v2."""
    values = {
        "seed": 3,
        "num_frames": 3,
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "base_model": "base",
        "motion_module": "v2.safetensors",
    }
    return GenerationRequest.build(prompt=prompt, **values | settings)


def planned(components: Components, request: GenerationRequest) -> LoraPlan:
    """What its tags change."""
    loras = {name: load_lora(entry) for name, entry in find_loras(request).items()}
    models = components.lora_targets
    return plan_loras(request, loras, models=models, motion_label=components.motion.label)


def encoded(components: Components, request: GenerationRequest) -> TextStates:
    """The states of its prompts, what their tags add among them."""
    plan = planned(components, request)
    with applied(components, request, plan):
        return encode_prompts(
            components.tokenizers,
            components.text_encoders,
            prompt=plan.prompt,
            negative_prompt=plan.negative_prompt,
            tokens=plan.tokens,
        )


def states(components: Components) -> dict[str, dict[str, torch.Tensor]]:
    """Component -> parameter -> its tensor."""
    return {name: dict(model.state_dict()) for name, model in components.lora_targets.items()}


def assert_as_before(components: Components, before: dict[str, dict[str, torch.Tensor]]) -> None:
    """The very same tensors, not merely equal ones."""
    for name, tensors in before.items():
        for key, tensor in components.lora_targets[name].state_dict().items():
            assert tensor.data_ptr() == tensors[key].data_ptr(), key


def assert_added(
    components: Components, plan: LoraPlan, factors: dict[str, formats.LoraFactors], scale: float, request=None
) -> None:
    """Inside `applied` every named layer has W + scale · up @ down, and every other one its own W."""
    before = {name: {k: v.clone() for k, v in tensors.items()} for name, tensors in states(components).items()}
    with applied(components, request or small(), plan):
        for name, tensors in states(components).items():
            expected = before[name]
            for layer, (down, up) in factors.get(name, {}).items():
                weight = expected[f"{layer}.weight"]
                expected[f"{layer}.weight"] = weight + scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
            for key, tensor in tensors.items():
                torch.testing.assert_close(tensor, expected[key], rtol=1e-6, atol=1e-6)
    assert plan.additions


def refusal_of(components: Components, tag: str) -> str:
    """The text that refuses a prompt with this tag."""
    with pytest.raises(WeightsError) as error:
        planned(components, small(f"a fox {tag}"))
    return str(error.value)
