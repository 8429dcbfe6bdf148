"""Report time and memory of clips instead of generating them."""

from collections.abc import Sequence

from api.command_line.terminal import Results
from pipelines.plan.planner.estimate import Budget, Estimate, advice, estimate, fit, this_budget
from pipelines.plan.request import GenerationRequest

_GB = 1e9
_SECONDS_WORTH_MINUTES = 120
_MINUTE = 60


def report_estimates(requests: Sequence[tuple[int | None, GenerationRequest]], results: Results) -> bool:
    """Report the cost of each clip and of all together.

    Returns whether all fit into memory.

    Args:
        requests: With the line of the batch file each stands in, or None.
    """
    budget, all_fit = this_budget(), True
    for line, request in requests:
        cost = estimate(request)
        fits = budget.holds(cost)
        remedy = "" if fits else advice(fit(request, budget))
        results.facts(
            (f"line {line}: " if line else "") + _describe(cost, budget, remedy),
            line=line,
            seconds=round(cost.seconds, 1),
            memory_gb=round(cost.peak_bytes_ram / _GB, 2),
            device_memory_gb=round(cost.peak_bytes_device / _GB, 2),
            gpu_quota_seconds=cost.zero_gpu_seconds,
            is_rough=cost.is_rough,
            fits=fits,
            advice=remedy or None,
        )
        all_fit &= fits
    if len(requests) > 1:  # models are loaded once for all of them
        total = estimate(*(request for _, request in requests)).seconds
        results.facts(f"{len(requests)} clips: about {_duration(total)}.", clips=len(requests), seconds=round(total, 1))
    return all_fit


def _describe(cost: Estimate, budget: Budget, remedy: str) -> str:
    """Describe an estimate in a line.

    Example:
        >>> _describe(Estimate(12.3, 12.3, 1.1e9, 1.1e9, None, 1, True, {}), Budget(8e9, 8e9), "")
        'About 12 s, 1.1 GB of memory. Fits. Rough until a first clip is made here.'
    """
    words = [f"About {_duration(cost.seconds)}, {cost.peak_bytes_device / _GB:.1f} GB of memory."]
    if cost.zero_gpu_seconds is not None:
        words.append(f"Takes {_duration(cost.zero_gpu_seconds)} of GPU quota.")
    if remedy:
        available = ", ".join(f"{room / _GB:.1f} GB" for room in dict.fromkeys((budget.device, budget.ram)) if room)
        words.append(f"Won't fit into {available}. {remedy}")
    else:
        words.append("Fits.")
    if cost.is_rough:
        words.append("Rough until a first clip is made here.")
    return " ".join(words)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _SECONDS_WORTH_MINUTES else f"{seconds / _MINUTE:,.0f} min"
