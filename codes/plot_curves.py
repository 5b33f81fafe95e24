"""Draw the training curves of a run: `make train` does, or

    python codes/plot_curves.py runs/strong-s0        # default: the newest run

Reads the run's log.csv; writes training_curves.png beside it (or to --out).
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.ground.files import RUNS_DIR, read_json
from VGG_BatchNorm.ground.script import UserError, run_main
from VGG_BatchNorm.ground.style import TEST, TRAIN, VALIDATION, plt, save_figure


def read_log(folder: Path) -> dict[str, list[float]]:
    """The columns of a run's log.csv.

    Raises:
        UserError: missing, empty, or not numbers.
    """
    try:
        with (folder / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        columns = {name: [float(row[name]) for row in rows] for name in rows[0]}
        columns["epoch"], columns["loss"], columns["accuracy"], columns["seconds"]
        return columns
    except FileNotFoundError:
        raise UserError(f"no log.csv in {folder}; `make train` makes one") from None
    except (IndexError, KeyError, ValueError, TypeError):
        raise UserError(f"{folder / 'log.csv'} is empty or damaged; --resume writes it anew") from None


def draw_curves(folder: Path, path: Path) -> None:
    """Loss and error against epochs, minutes on the upper axis, the final test error as a line."""
    log = read_log(folder)
    minutes, name = log["seconds"][-1] / 60, folder.resolve().name
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    left.plot(log["epoch"], log["loss"], "o-", color=TRAIN)
    left.set(xlabel="epoch", ylabel="training loss (label-smoothed\ncross-entropy, nats)")
    right.plot(log["epoch"], [100 * (1 - a) for a in log["accuracy"]], "o-", color=TRAIN,
               label="training (augmented)")
    if "validation_accuracy" in log:
        right.plot(log["epoch"], [100 * (1 - a) for a in log["validation_accuracy"]], "s-",
                   color=VALIDATION, label="validation")
    if (folder / "result.json").exists():
        result = read_json(folder / "result.json")
        name = f"preset {result['preset']}, seed {result['seed']}"
        for key, style in (("test_accuracy", "--"), ("test_accuracy_views", ":")):
            if key in result:
                error = 100 * (1 - result[key])
                views = ", six views" if key.endswith("views") else ""
                right.axhline(error, color=TEST, linestyle=style, label=f"test{views}: {error:.2f} %")
    right.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
    right.legend()
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"{name}: {log['epoch'][-1]:.0f} epochs in {minutes:.1f} minutes", fontsize=12)
    save_figure(figure, path)


def newest_run() -> Path:
    logs = sorted(RUNS_DIR.glob("*/log.csv"), key=lambda path: path.stat().st_mtime)
    if not logs:
        raise UserError("no run yet; `make train` makes one")
    return logs[-1].parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, help="the picture")
    args = parser.parse_args()
    folder = args.run or newest_run()
    path = args.out or folder / "training_curves.png"
    draw_curves(folder, path)
    print(f"picture    {path}")


if __name__ == "__main__":
    run_main(main)
