"""How strongly first and last picture hold each initial frame.

The blend is the one of sd-webui-animatediff: frame i begins at `first * a + last * b + noise * (1 - a - b)`.
"""

from pipelines.plan.request import GenerationRequest


def hold_weights(request: GenerationRequest) -> list[tuple[float, float]]:
    """Weigh first and last picture at every frame, each 0 to 1.

    The rest up to 1 is noise. The first one's share at frame i is `1 - i ** latent_power / latent_scale`, the last
    one's the same counted back. Where both together exceed 1 they are scaled down to it; the ends show one picture
    alone. Behind a first picture alone, as between two, at least `noise_floor` is left to noise, where 0 is what the
    seed program does.

    Example:
        >>> hold_weights(GenerationRequest.build(seed=0, num_frames=4, first_frame="0" * 64, noise_floor=0))
        [(1.0, 0.0), (0.96875, 0.0), (0.9375, 0.0), (0.90625, 0.0)]
    """
    num_frames = request.num_frames
    first = [_share(i, request.latent_power, request.latent_scale) for i in range(num_frames)]
    if not request.last_frame:
        return [(a if i == 0 else a * _room(a, request.noise_floor), 0.0) for i, a in enumerate(first)]
    last = [_share(i, request.latent_power_last, request.latent_scale_last) for i in reversed(range(num_frames))]
    weights = []
    for a, b in zip(first, last, strict=True):
        scale = _room(a + b, request.noise_floor)
        weights.append((a * scale, b * scale))
    weights[0], weights[-1] = (1.0, 0.0), (0.0, 1.0)
    return weights


def _share(distance: int, power: float, scale: float) -> float:
    return max(0.0, 1 - distance**power / scale)


def _room(total: float, floor: float) -> float:
    """Scale a frame's pictures down to what the noise leaves them."""
    most = 1 - floor
    return most / total if total > most else 1.0
