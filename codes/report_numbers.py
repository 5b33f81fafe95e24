"""What the report says, from the files in reports/results/: numbers, tables, and the words that depend on
which way a result fell ("loses", "makes no clear difference").

    from codes.report_numbers import collect
    collect(RESULTS_DIR)["presets"]["strong"]["error"]    # "6.66 ± 0.10"

PARTS names the files, what makes each, and the function that reads it.
"""

import inspect
import re
import statistics
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from codes import summarise
from codes.compare_results import clear, sorted_by_effect, table, with_spread
from codes.figures.landscape import COMPARED
from codes.networks import build, parameter_count
from codes.plot_compare import Comparisons, without_effect
from codes.settings import DEFAULTS, PRESETS, network_config
from codes.studies import STUDIES
from codes.summarise import spread
from VGG_BatchNorm import findings
from VGG_BatchNorm.ground.cifar10 import CLASSES, MEAN, ROW, STD, split_validation
from VGG_BatchNorm.ground.files import read_json, read_npz, read_table
from VGG_BatchNorm.ground.script import UserError

# --- words and tables -----------------------------------------------------------------------


def cells(markdown: str) -> list[list[str]]:
    """The rows of a Markdown table, the head first, without its marks."""
    lines = [line for line in markdown.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    return [[minus(cell.strip(" `*")) for cell in line.removeprefix("|").removesuffix("|").split("|")]
            for line in lines]


def filled(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that must have some."""
    rows = read_table(path)
    if not rows:
        raise ValueError("no rows")
    return rows


def minus(text: str) -> str:
    """With the sign that is as wide as a plus before negative numbers."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def listed(names: list[str]) -> str:
    """"a", "a and b", "a, b and c" (semicolons where a name has a comma); "none of them" of nothing."""
    comma = "; " if any("," in name for name in names) else ", "
    return " and ".join(filter(None, [comma.join(names[:-1]), *names[-1:]])) or "none of them"


def percent(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f} %"


def kind(row: dict) -> str:
    """How a variant compares with the first of its study: better, worse (or failed), or unclear."""
    if row["accuracy"] == "":
        return "worse"
    return "unclear" if not clear(row) else "better" if float(row["difference"]) > 0 else "worse"


def short(row: dict) -> str:
    """A variant's name without what follows a colon: "× 2: 32, 128, 128" is "× 2"."""
    return row["variant"].partition(":")[0]


def says(row: dict) -> str:
    """The same as the end of a sentence, with numbers."""
    if row["accuracy"] == "":
        return "fails with every seed"
    if kind(row) == "unclear":
        points = minus(with_spread(row["difference"], row["uncertainty"], "+"))
        return f"makes no clear difference ({points} points)"
    points = with_spread(abs(float(row["difference"])), row["uncertainty"])
    return f"{'gains' if kind(row) == 'better' else 'loses'} {points} points"


# --- what the report says of each file ------------------------------------------------------


def presets(path: Path) -> dict:
    """runs.csv: test error and cost of each preset, and the settings behind them."""
    rows = filled(path)
    found = {"table": cells(summarise.accuracy_table(rows)), "threads": rows[0]["threads"],
             "device": rows[0]["device"].partition(",")[0], "torch": rows[0]["torch"]}
    for name in dict.fromkeys(row["preset"] for row in rows):
        mine = [row for row in rows if row["preset"] == name]
        errors = [[100 * (1 - float(row[column])) for row in mine]
                  for column in ("test_accuracy", "test_accuracy_views")]
        settings = DEFAULTS | PRESETS[name]
        found[name] = {
            "n": len(mine), "error": spread(errors[0], 2), "error_views": spread(errors[1], 2),
            "gain": spread([one - six for one, six in zip(*errors, strict=True)], 2),
            "minutes": spread([float(row["seconds"]) / 60 for row in mine], 1),
            "parameters": f"{int(mine[0]['parameters']):,}", "pflop": f"{float(mine[0]['flops']) / 1e15:.3f}",
            "epochs": settings["epochs"], "batch_size": f"{settings['batch_size']:,}", "lr": settings["lr"],
            "small_size": settings["small_size"], "small_share": percent(settings["small_share"], 0),
            "smoothing": settings["label_smoothing"], "translate": settings["translate"],
            "target": percent(1 - settings["label_smoothing"] * (1 - 1 / len(CLASSES)), 0)}
    return found


def data(path: Path) -> dict:
    """evaluation.json, and what else defines the data: its parts, checksum and constants."""
    train = int(read_table(path.parent / "runs.csv")[0]["images"])
    held_out = round(train * inspect.signature(split_validation).parameters["fraction"].default)
    evaluation = read_json(path)
    shares = sorted((share, name) for name, share in evaluation["accuracy_by_class_six_views"].items())
    return {"train": f"{train:,}", "fit": f"{train - held_out:,}", "validation": f"{held_out:,}",
            "test": f"{evaluation['images']:,}", "values": f"{ROW - 1:,}",
            "classes": listed(list(CLASSES)), "n_classes": len(CLASSES),
            **{name: ", ".join(f"{value:.4f}" for value in values)
               for name, values in (("mean", MEAN), ("std", STD))},
            "error": percent(evaluation["error"], 2),
            "error_views": percent(evaluation["error_six_views"], 2),
            **{end: {"name": name, "accuracy": percent(share)}
               for end, (share, name) in (("worst", shares[0]), ("best", shares[-1]))}}


def network(settings: dict) -> list[dict]:
    """The stages of CifarNet: name, channels, side of the output in pixels, parameters."""
    net, side = build("cifarnet", **network_config(settings)), 32
    parts = [("whitening" if net.whiten else "convolution", net.WHITEN_CHANNELS, 1, net.stem)]
    parts += [(f"group {number}", width, 2, group)
              for number, (width, group) in enumerate(zip(settings["widths"], net.groups, strict=True), 1)]
    stages = []
    for name, channels, factor, part in parts:
        side //= factor
        stages.append({"name": name, "channels": channels, "side": side,
                       "parameters": f"{parameter_count(part):,}"})
    return [*stages, {"name": "linear", "parameters": f"{parameter_count(net.head):,}"}]


def compare(path: Path) -> dict:
    """compare/quick: every study, the base, the tuning of the optimizers, and what did not help."""
    runs = Comparisons(path.parent)
    if missing := [name for name in STUDIES if name not in runs.studies and name != "final"]:
        raise UserError(f"no study {missing[0]}")
    first, base = runs.seeds("{}").values(), runs.base
    sensitivity = tuning(runs)
    learned = {name: [100 * float(row[f"{name}_accuracy"]) for row in first]
               for name in ("train", "validation")}
    return {"base": {"checksum": base["data_md5"], "epochs": base["epochs"], "batch_size": base["batch_size"],
                     "widths": ", ".join(map(str, base["widths"])),
                     "small_share": percent(base["small_share"], 0),
                     "memorises": statistics.mean(learned["train"]) > statistics.mean(learned["validation"]),
                     **{name: spread(values, 2) for name, values in learned.items()}},
            "studies": {name: study(rows) for name, rows in runs.studies.items()},
            "tuning": {"table": [row for row, _ in sensitivity],
                       "least": min(sensitivity[1:], key=lambda row: row[1])[0][0],
                       "most": max(sensitivity[1:], key=lambda row: row[1])[0][0]},
            "edge": listed([row["variant"] for row in runs.studies["optimizers"] if row["edge"] == "True"]),
            "without_effect": without_effect_by_study(runs)}


def study(rows: list[dict[str, str]]) -> dict:
    """Its table, which variants are better and worse than the first, and a phrase for each."""
    first, others = rows[0], list(reversed(sorted_by_effect(rows[1:])))
    found = {"table": cells(table(rows)), "first": first["variant"], "n": first["n"],
             "accuracy": with_spread(first["accuracy"], first["deviation"])}
    for word in ("better", "worse", "unclear"):
        found[word] = listed([short(row) for row in others if kind(row) == word])
    found["variants"] = {short(row): {
        "accuracy": with_spread(row["accuracy"], row["deviation"]), "says": says(row), "kind": kind(row),
        "cost": f"{float(row['flops']) / float(first['flops']):.1f}",
        "error": 100 - float(row["accuracy"] or 0)} for row in rows}
    return found


def tuning(runs: Comparisons) -> list[tuple[list[str], float]]:
    """For each optimizer, a row on its rates, and by how much the best of them beats the median one."""
    rows = [(["optimizer", "rates that were tried", "best", "accuracy (%)", "median of all"], 0.0)]
    for row in runs.studies["optimizers"]:
        tries, kept = runs.tries("optimizers", row)
        median, tried = statistics.median(right for _, right in tries), [lr for lr, _ in tries]
        rows.append(([row["variant"], f"{len(tries)}, from {min(tried):g} to {max(tried):g}", f"{kept[0]:g}",
                      f"{kept[1]:.2f}", f"{median:.2f}"], kept[1] - median))
    return rows


def without_effect_by_study(runs: Comparisons) -> list[list[str]]:
    """What did not help, a row a study: what is clearly worse, and what makes no clear difference."""
    rows = {}
    for name, variant, points, what in cells(without_effect(runs))[1:]:
        row = rows.setdefault(name, ([], []))
        row[what == "no clear difference"].append(f"{variant} ({points.partition(' ')[0]})")
    return [["study", "worse (points)", "no clear difference (points)"],
            *([name.replace("_", " "), *("; ".join(part) or "–" for part in row)]
              for name, row in rows.items())]


def mistakes(path: Path) -> dict:
    """mistakes.json: what is taken for what, and how sure the net is."""
    found = read_json(path)
    wrong = round(found["error"] * found["images"])
    pair = {found["most_frequent_mistakes"][0][name] for name in ("true", "said")}
    both = sum(one["images"] for one in found["most_frequent_mistakes"] if {one["true"], one["said"]} == pair)
    alike = sum(one["look_alikes"] for one in found["by_class"].values())
    return {"wrong": f"{wrong:,}", "images": f"{found['images']:,}", "share": percent(both / wrong, 0),
            "pair": listed(sorted(pair)), "both": both, "alike": percent(alike / found["images"]),
            "error": percent(found["error"], 2), "accuracy": percent(1 - found["error"]),
            "head_mends": alike > wrong,
            **{name.replace(" ", "_"): percent(error) for name, error in found["calibration_error"].items()}}


def robustness(path: Path) -> dict:
    """robustness.json: the worst and the mildest corruption, and both attacks; noise by the first layer."""
    found = read_json(path)
    with np.load(path.with_name("robustness_noise.npz"), allow_pickle=False) as file:
        whitened, trained = file["accuracy"]
    ends = sorted((shares[-1], name) for name, shares in found["corruptions"].items())
    return {"images": f"{found['about']['images']:,}", "clean": percent(found["clean"]),
            "attacked": f"{found['attacked_images']:,}", "kinds": len(ends),
            "worst": ends[0][1], "worst_accuracy": percent(ends[0][0]),
            "mildest": ends[-1][1], "mildest_accuracy": percent(ends[-1][0]),
            "whitened": {"clean": percent(whitened[0]), "noisy": percent(whitened[1])},
            "trained": {"clean": percent(trained[0]), "noisy": percent(trained[1])},
            "whitening_hurts": bool(whitened[1] < trained[1]),
            "table": [["ε (1/255)", *(f"{eps:g}" for eps in found["epsilons"])],
                      *([name, *map(percent, shares)] for name, shares in found["attacks"].items())]}


def similarity(path: Path) -> dict:
    """features/similarity.npz: mean CKA of the same trained blocks of two nets, and their accuracy."""
    with np.load(path, allow_pickle=False) as file:
        alike = [f"{matrix.diagonal()[1:].mean():.2f}" for matrix in file["cka"]]
        right = file["accuracy"]
    return {**dict(zip(("normed", "plain", "mixed"), alike, strict=True)),
            "accuracy_normed": percent(right[0].mean()), "accuracy_plain": percent(right[1].mean())}


def landscape(path: Path) -> dict:
    """landscape/: the four small nets' planes, and the path of one."""
    rows = [["net", "loss at the weights", "median loss in the plane", "top eigenvalue"]]
    planes = [(label, read_npz(path.with_name(f"compare_{name}.npz"))) for name, label in COMPARED.items()]
    for label, plane in planes:
        value = float(plane["eigenvalue"])
        bound = "at least " if plane["residual"] > 0.05 * abs(value) else ""  # as in figures/landscape.py
        centre = tuple(side // 2 for side in plane["loss"].shape)
        rows.append([label, f"{plane['loss'][centre]:.2f}", f"{np.median(plane['loss']):.2f}",
                     f"{bound}{value:.3g}"])
    first, second = read_npz(path)["explained"]
    return {"table": rows, "first": percent(first, 0), "second": percent(second, 0),
            "images": planes[0][1]["about"]["settings"]["n_items"]}


def learning(path: Path) -> dict:
    """learning/learning.npz: a small net at a few moments of its training."""
    with np.load(path, allow_pickle=False) as file:
        steps, right, loss = (file[name] for name in ("steps", "accuracy", "loss"))
    moments = [round(i * (len(steps) - 1) / 6) for i in range(7)]
    below = np.flatnonzero(right < right[-1] / 2)
    half = int(steps[below[-1] + 1]) if len(below) else 0  # from here on for good
    return {"steps": int(steps[-1]), "half": half, "final": percent(right[-1]),
            "half_share": percent(half / steps[-1], 0),
            "table": [["step", *(str(steps[i]) for i in moments)],
                      ["validation accuracy", *(percent(right[i]) for i in moments)],
                      ["validation loss (nats)", *(f"{loss[i]:.2f}" for i in moments)]]}


def bench(path: Path) -> dict:
    found = read_json(path)
    rates = [one["rate_over_gemm"] for one in found["steps"]]
    return {"table": cells(text := summarise.bench_table(found)), "note": text.rpartition("\n\n")[2],
            "low": percent(min(rates), 0), "high": percent(max(rates), 0)}


def bn_bench(path: Path) -> dict:
    found = read_json(path)
    step = {row["norm"]: row["ours"]["float32"]["step_seconds"] for row in found["rows"]}
    return {"table": cells(text := summarise.study_bench_table(found)), "note": text.rpartition("\n\n")[2],
            "longer": percent(step["batch"] / step["none"] - 1, 0)}


def bn(path: Path) -> dict:
    """bn/evening: the paper's claims beside ours, the effect on training, and the handout's bands."""
    runs = findings.read_runs(path.parent)
    claims = cells(text := findings.table(runs))
    own = next((i for i, row in enumerate(claims) if row[0].startswith("(ours)")), len(claims))
    said = [row[5] for row in claims[1:own]]
    return {"claims": claims, "note": text.rpartition("\n\n")[2],
            "judged": len(said), "yes": said.count("yes"), "no": said.count("no"),
            "unclear": said.count("no clear difference"),
            "by": {quantity: {"seeds": n, "plain": plain, "normed": normed, "holds": holds}
                   for _, quantity, n, plain, normed, holds in claims[1:]},
            "training": effect_on_training(filled(path)),
            "bands": {optimizer: {norm: band(findings.find(runs, "envelope", optimizer=optimizer, norm=norm))
                                  for norm in ("none", "batch")} for optimizer in ("adam", "sgd")}}


def effect_on_training(rows: list[dict[str, str]]) -> list[list[str]]:
    """A row for each learning rate and net: accuracy, and steps to given accuracies."""
    lines = [["LR", "net", "seeds", "steps", "validation accuracy (%)", "steps to 50 %", "to 70 %"]]
    groups: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda row: (float(row["lr"]), row["norm"] == "batch")):
        if row["group"] in ("pair", "rates"):
            groups.setdefault((row["lr"], row["norm"]), []).append(row)
    for (lr, norm), mine in groups.items():
        right = spread([100 * float(row["validation_accuracy"]) for row in mine], 1)
        lines.append([f"{float(lr):g}", {"none": "VGG-A", "batch": "with batch norm"}[norm], str(len(mine)),
                      mine[0]["steps"], right,
                      *(reached([row[f"steps_to_{accuracy}%"] for row in mine]) for accuracy in (50, 70))])
    return lines


def reached(steps: list[str]) -> str:
    there = [float(step) for step in steps if step]
    missing = f" (in {len(there)} of {len(steps)})" if 0 < len(there) < len(steps) else ""
    return spread(there, 0) + missing if there else "–"


def band(runs: list[dict]) -> dict:
    """Of runs that differ in learning rate: the median width of their band of losses, and where they end."""
    steps = min(len(run["loss"]) for run in runs)
    loss = np.stack([run["loss"][:steps] for run in runs])
    last = loss[:, -50:].mean(1)
    return {"width": f"{np.median(np.ptp(loss, 0)):.2f}",
            "low": f"{last.min():.2f}", "high": f"{last.max():.2f}",
            "learned": bool(last.min() < 0.95 * np.log(len(CLASSES))), "guess": f"{np.log(len(CLASSES)):.2f}",
            "rates": ", ".join(f"{run['run']['lr']:g}" for run in runs)}


PARTS: dict[str, tuple[str, str, Callable[[Path], dict]]] = {  # the file, what makes it, its reader
    "presets": ("runs.csv", "make train", presets),
    "data": ("evaluation.json", "make evaluate", data),
    "compare": ("compare/quick/summary.csv", "make compare", compare),
    "scratch": ("from_scratch.csv", "make from-scratch",
                lambda path: {"text": summarise.from_scratch_text(filled(path))}),
    "bench": ("bench.json", "make bench", bench),
    "peer": ("peer.json", "codes/bench_peer.py", lambda path: {
        "text": summarise.peer_text(read_json(path)).replace("`", "")}),
    "mistakes": ("mistakes.json", "make figures", mistakes),
    "robustness": ("robustness.json", "make figures", robustness),
    "similarity": ("features/similarity.npz", "make figures", similarity),
    "landscape": ("landscape/path.npz", "make figures", landscape),
    "learning": ("learning/learning.npz", "make figures", learning),
    "bn": ("bn/evening/summary.csv", "make bn-landscape", bn),
    "bn_bench": ("bn/bench.json", "VGG_BatchNorm/bench_study.py", bn_bench),
}


def collect(results: Path) -> dict:
    """All that report.typ shows, by the name of the part.

    Raises:
        UserError: a file is missing or of another shape; names it, and what makes it.
    """
    found = {}
    for name, (file, maker, read) in PARTS.items():
        path = results / file
        if not path.exists():
            raise UserError(f"{path} is missing; `{maker}` makes it")
        try:
            found[name] = read(path)
        except (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError, UserError,
                findings.NotRun, zipfile.BadZipFile) as error:
            reason = error if isinstance(error, UserError) else f"another shape than expected, {error!r}"
            raise UserError(f"{path} cannot be used ({reason}); `{maker}` makes it") from None
    recipe = DEFAULTS | PRESETS["strong"]
    return found | {"recipe": recipe, "network": network(recipe)}
