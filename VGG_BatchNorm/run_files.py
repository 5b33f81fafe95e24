"""What a run of the study leaves: its file, and the steps that its probes look at."""

from pathlib import Path

from VGG_BatchNorm.ground.files import read_npz
from VGG_BatchNorm.ground.script import UserError

GRID = (0.5, 1.0, 2.0, 4.0)  # the paper's, in learning rates
FINE_GRID = tuple(2.0**k for k in range(-8, 3))
# norms that keep running statistics
WITH_STATISTICS = ("batch", "own_batch", "noisy_batch", "noisy_batch_channel")


def read_study_run(path: Path) -> dict:
    """Return the arrays of a run's file by name, and what its `about` holds: run, seconds_per_step,
    device, …. Raises UserError: missing, damaged, or older than what it should hold."""
    if not path.exists():
        raise UserError(f"{path} is missing; `make bn-landscape` makes it")
    content = read_npz(path)
    about = content.pop("about")
    if "looked_at" not in about or "precision" not in about["run"]:
        raise UserError(f"{path} is of an older version; move it away")
    return about | content
