"""What changes over a run, as pure functions of the step: learning rate and image size.

Here too: the settings of the proxy net that picks a run's hard examples."""

import dataclasses

from codes.settings import WHOLE, Settings


def schedule(step: int, steps: int, warmup: float = 0.0, end: float = 0.0) -> float:
    """Return the factor on the learning rate at `step` (from 0).

    A straight rise from 0 over the first `warmup` share of the steps, then a straight fall, which
    would reach `end` at step `steps`; never above 1."""
    rising = (step + 1) / (warmup * steps) if warmup else 1.0
    falling = (1 - step / steps) / (1 - warmup) if warmup < 1 else 1.0
    return min(1.0, rising, end + (1 - end) * falling)


def image_size(step: int, steps: int, settings: Settings) -> int:
    """Return the side of a step's images, pixels: small first, then, if so set, the middle size."""
    if step < settings.small_share * steps:
        return settings.small_size
    return settings.middle_size if step < settings.middle_share * steps else 32


def proxy_settings(settings: Settings) -> Settings:
    """Return those of the small net that picks a run's hard examples (see `Trainer.select`)."""
    return dataclasses.replace(
        settings, network="cifarnet", config={"widths": settings.proxy_widths}, average=0.0,
        **WHOLE | {"small_size": settings.proxy_size, "small_share": 1.0})
