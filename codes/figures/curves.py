"""The training curves of a run: `draw_curves(*read_log(folder))`."""

from pathlib import Path

from VGG_BatchNorm.ground.files import read_csv, read_json
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.style import TEST, TRAIN, VALIDATION, plt


def read_log(folder: Path) -> tuple[str, dict[str, list[float]], dict]:
    """Return the name of a run's folder, the columns of its log.csv, and its result.json ({} before
    its end). Raises UserError: the log is missing, empty, or not numbers."""
    path, result = folder / "log.csv", folder / "result.json"
    if not path.exists():
        raise UserError(f"no log.csv in {folder}; `make train` makes one")
    try:
        rows = read_csv(path, {})
        columns = {name: [float(row[name]) for row in rows] for name in rows[0]}
        columns["epoch"], columns["loss"], columns["accuracy"], columns["seconds"]
    except (IndexError, KeyError, ValueError, TypeError, UserError):
        mend = ("delete it and result.json, and --resume writes them anew"
                if (folder / "last.pt").exists() else "`git restore` brings ours back")
        raise UserError(f"{path} is empty or damaged; {mend}") from None
    result = read_json(result, "preset", "seed") if result.exists() else {}
    return folder.resolve().name, columns, result


def draw_curves(name: str, log: dict[str, list[float]], result: dict):
    """One run: the loss that is trained on (by default, of smoothed labels), and error on the
    images that it trains on, as they are augmented, over epochs; the lines are the error on the
    test set, read once at the end. Where images are small at first, the change to whole ones shows
    as a sudden fall. It is one run; the table has the spread over seeds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.9, 3.5))
    left.plot(log["epoch"], log["loss"], "o-", color=TRAIN)
    left.set(xlabel="epoch", ylabel="training loss (nats)")
    right.plot(log["epoch"], [100 * (1 - a) for a in log["accuracy"]], "o-", color=TRAIN,
               label="training (augmented)")
    if "validation_accuracy" in log:
        right.plot(log["epoch"], [100 * (1 - a) for a in log["validation_accuracy"]], "s-",
                   color=VALIDATION, label="validation")
    if result:
        name += f", from the preset {result['preset']}, seed {result['seed']}"
    for key, style in (("test_accuracy", "--"), ("test_accuracy_views", ":")):
        if key in result:
            error = 100 * (1 - result[key])
            views = ", six views" if key.endswith("views") else ""
            right.axhline(error, color=TEST, linestyle=style, label=f"test{views}: {error:.2f} %")
    right.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
    right.legend()
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"{name}: {log['epoch'][-1]:.0f} epochs", fontsize=12)
    return figure
