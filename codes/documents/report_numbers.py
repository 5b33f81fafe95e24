"""What the report says, from the files in reports/results/: numbers, tables, and the words that
depend on which way a result fell ("loses", "makes no clear difference").

    from codes.documents.report_numbers import collect
    collect(RESULTS_DIR)["presets"]["strong"]["error"]    # "6.66 ± 0.10"

PARTS names the files, what makes each, and the function that reads it."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from codes.documents import bench_tables, preset_tables
from codes.documents import report_comparisons as compared
from codes.figures.horizons import caption_words, read_horizons
from codes.figures.landscape import COMPARED
from codes.networks import build
from codes.results import presets
from codes.results.advice import says
from codes.results.comparisons import changes_table
from codes.results.measurements import eigenvalue_in_words
from codes.results.words import cells, listed, mean_and_deviation, percent, with_spread
from codes.settings import DEFAULTS, PRESETS, Settings
from VGG_BatchNorm import claims, measures
from VGG_BatchNorm.draw_paper import RESCUE_LOOKS
from VGG_BatchNorm.ground.cifar10 import CLASSES, MEAN, ROW, STD, VALIDATION_SHARE
from VGG_BatchNorm.ground.files import read_csv, read_json, read_npz
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.statistics import t_interval
from VGG_BatchNorm.VGG import get_number_of_parameters


def runs_of_presets(path: Path) -> dict:
    """runs.csv: test error and cost of each preset, and the settings behind them."""
    rows = read_csv(path, presets.PRESET_RUN)
    found = {"table": cells(preset_tables.accuracy_table(rows)),
             "threads": max(row["threads"] for row in rows),
             "device": rows[0]["device"].partition(",")[0], "torch": rows[0]["torch"]}
    found["settings"] = differing_settings([name for name in PRESETS if any(
        row["preset"] == name for row in rows)])
    for name, mine in presets.by_preset(rows).items():
        settings = DEFAULTS | PRESETS[name]
        smoothing = settings["label_smoothing"]
        found[name] = errors(mine) | {
            "threads": mine[0]["threads"],
            "minutes": mean_and_deviation(presets.minutes(mine), 1),
            "parameters": f"{mine[0]['parameters']:,}", "pflop": f"{mine[0]['flops'] / 1e15:.3f}",
            "epochs": settings["epochs"], "batch_size": f"{settings['batch_size']:,}",
            "small_size": settings["small_size"],
            "small_share": percent(settings["small_share"], 0), "smoothing": smoothing,
            "translate": settings["translate"],
            "target": percent(1 - smoothing * (1 - 1 / len(CLASSES)), 0)}
    return found


def errors(rows: list[dict]) -> dict:
    """Return how many runs there are, their error with one view and six, and what the six gain."""
    one, six = presets.errors_in_percent(rows)
    return {"n": len(rows), "error": mean_and_deviation(one, 2),
            "error_views": mean_and_deviation(six, 2),
            "gain": with_spread(*t_interval(np.subtract(one, six)))}


def differing_settings(names: list[str]) -> list[list[str]]:
    """Return a row for each setting in which presets differ, a column for each preset."""
    whole = [DEFAULTS | PRESETS[name] for name in names]
    given = dict.fromkeys(setting for name in names for setting in PRESETS[name])

    def said(value) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ", ".join(map(str, value)) if isinstance(value, tuple | list) else f"{value:g}"

    return [["setting", *names], *([setting.replace("_", " "), *(said(one[setting])
                                                                 for one in whole)]
                                   for setting in given if setting != "micro_batch")]


def front(path: Path) -> list[list]:
    """published.csv: our presets beside nets of others."""
    ours = read_csv(path.with_name("runs.csv"), presets.PRESET_RUN)
    others = read_csv(path, presets.PUBLISHED)
    if not others:
        raise ValueError("no rows")
    return cells(preset_tables.front_table(ours, others))


def data(path: Path) -> dict:
    """evaluation.json, and what else defines the data: its parts, checksum and constants."""
    train = read_csv(path.with_name("runs.csv"), presets.PRESET_RUN)[0]["images"]
    held_out = round(train * VALIDATION_SHARE)
    evaluation = preset_tables.of_shipped_weights(path)
    by_class = evaluation["accuracy_by_class_six_views"]
    shares = sorted((share, name) for name, share in by_class.items())
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
    """Return the stages of CifarNet: name, channels, side of the output in pixels, parameters."""
    net, side = build("cifarnet", **Settings.from_dict(settings).config), 32
    parts = [("whitening" if net.whiten else "convolution", net.WHITEN_CHANNELS, 1, net.stem)]
    groups = enumerate(zip(settings["widths"], net.groups, strict=True), 1)
    parts += [(f"group {number}", width, 2, group) for number, (width, group) in groups]
    stages = []
    for name, channels, factor, part in parts:
        side //= factor
        stages.append({"name": name, "channels": channels, "side": side,
                       "parameters": f"{get_number_of_parameters(part):,}"})
    return [*stages, {"name": "linear", "parameters": f"{get_number_of_parameters(net.head):,}"}]


def mistakes(path: Path) -> dict:
    """mistakes.json: what is taken for what, and how sure the net is."""
    found = preset_tables.of_shipped_weights(path)
    wrong = round(found["error"] * found["images"])
    frequent = found["most_frequent_mistakes"]
    pair = {frequent[0][name] for name in ("true", "said")}
    both = sum(one["images"] for one in frequent if {one["true"], one["said"]} == pair)
    return {"wrong": f"{wrong:,}", "images": f"{found['images']:,}",
            "share": percent(both / wrong, 0), "pair": listed(sorted(pair)), "both": both,
            "accuracy": percent(1 - found["error"]),
            **{name.replace(" ", "_"): percent(error)
               for name, error in found["calibration_error"].items()}}


def robustness(path: Path) -> dict:
    """robustness.json: the worst and mildest corruption, both attacks; noise by the first layer."""
    found = preset_tables.of_shipped_weights(path)
    whitened, trained = read_npz(path.with_name("robustness_noise.npz"))["accuracy"]
    ends = sorted((shares[-1], name) for name, shares in found["corruptions"].items())
    return {"images": f"{found['about']['images']:,}", "clean": percent(found["clean"]),
            "attacked": f"{found['attacked_images']:,}", "kinds": len(ends),
            "worst": ends[0][1], "worst_accuracy": percent(ends[0][0]),
            "mildest": ends[-1][1], "mildest_accuracy": percent(ends[-1][0]),
            "whitened": {"clean": percent(whitened[0]), "noisy": percent(whitened[1])},
            "trained": {"clean": percent(trained[0]), "noisy": percent(trained[1])},
            "whitening_hurts": bool(whitened[1] < trained[1]),
            "table": [["ε (1/255)", *(f"{eps:g}" for eps in found["epsilons"])],
                      *([name, *map(percent, shares)]
                        for name, shares in found["attacks"].items())]}


def similarity(path: Path) -> dict:
    """features/similarity.npz: mean CKA of like blocks of two nets, and the nets' accuracy."""
    found = read_npz(path)
    alike = [f"{matrix.diagonal()[1:].mean():.2f}" for matrix in found["cka"]]
    normed, plain = found["accuracy"][:2]
    return {**dict(zip(("normed", "plain", "mixed"), alike, strict=True)),
            "accuracy_normed": percent(normed.mean()), "accuracy_plain": percent(plain.mean())}


def landscape(path: Path) -> dict:
    """landscape/: the four small nets' planes, and the path of one."""
    rows = [["net", "loss at the weights", "median loss in the plane", "top eigenvalue"]]
    sides = {"plain": [], "normed": []}
    planes = [(label, read_npz(path.with_name(f"compare_{name}.npz")))
              for name, label in COMPARED.items()]
    for name, (label, plane) in zip(COMPARED, planes, strict=True):
        centre = tuple(side // 2 for side in plane["loss"].shape)
        rows.append([label, f"{plane['loss'][centre]:.2f}", f"{np.median(plane['loss']):.2f}",
                     eigenvalue_in_words(plane)])
        sides["normed" if name.startswith("batch_norm") else "plain"].append(rows[-1])
    first, second = read_npz(path)["explained"]
    words = {side: {"plane": listed([row[2] for row in some]),
                    "eigenvalue": listed([row[3] for row in some])} for side, some in sides.items()}
    return words | {"table": rows, "first": percent(first, 0), "second": percent(second, 0),
            "images": planes[0][1]["about"]["settings"]["n_items"]}


def learning(path: Path) -> dict:
    """learning/learning.npz: a small net at a few moments of its training."""
    found = read_npz(path)
    steps, right = found["steps"], found["accuracy"]
    below = np.flatnonzero(right < right[-1] / 2)
    half = int(steps[below[-1] + 1]) if len(below) else 0  # from here on for good
    low = int(np.argmin(np.diff(right[:len(below) + 1]))) + 1  # the largest fall before
    return {"steps": int(steps[-1]), "half": half, "final": percent(right[-1]),
            "half_share": percent(half / steps[-1], 0),
            "fall": f"from {percent(right[low - 1], 0)} at step {steps[low - 1]} to "
                    f"{percent(right[low], 0)} at step {steps[low]}"}


def scratch(path: Path) -> dict:
    return {"text": preset_tables.from_scratch_text(read_csv(path, presets.SCRATCH_RUN))}


def bench(path: Path) -> dict:
    found = read_json(path)
    table = bench_tables.bench_table(found)
    shares: dict[str, list[float]] = {}
    for one in found["steps"]:
        shares.setdefault(one["precision"], []).append(100 * one["rate_over_gemm"])
    return {"table": cells(table), "note": table.note, "shares": listed(
        [f"{min(some):.0f} to {max(some):.0f} % in {name}" for name, some in shares.items()])}


def bn_bench(path: Path) -> dict:
    """bn/bench.json: what a step costs, and how much more or less with batch norm: by our loop, by
    the course kit's, in the runs of the pair, and in the longer ones, where there are any."""
    found = read_json(path)
    table = bench_tables.study_bench_table(found)
    seconds = {row["norm"]: [row["ours"]["float32"]["step_seconds"], row["kit_step_seconds"]]
               for row in found["rows"]}
    runs = measures.read_runs(path.parent / "full")
    for group in ("pair", "long"):
        with contextlib.suppress(measures.NotRun):
            for norm, some in [(norm, measures.find(runs, group, norm=norm)) for norm in seconds]:
                seconds[norm].append(np.median([run["seconds_per_step"] for run in some]))
    return {"table": cells(table), "note": table.note, "time": [
        f"{percent(abs(normed / plain - 1), 0)} {'more' if normed > plain else 'less'}"
        for plain, normed in zip(seconds["none"], seconds["batch"], strict=True)]}


def bn(path: Path) -> dict:
    """bn/full: the paper's claims beside ours, the effect on training, the handout's bands."""
    runs = measures.read_runs(path.parents[1])
    table = claims.claims_table(runs)
    effects = claims.effects(runs)
    return {"claims": cells(table), "note": table.note,
            "brief": cells(claims.claims_table(runs, brief=True)),
            "by": {effect.claim.quantity: spoken(effect) for effect in effects},
            "shortest": shortest(runs), "edge": edges(runs), "heads": if_run(heads, runs),
            "noise": if_run(noise, runs), "long": if_run(long_pair, runs),
            "rescues": if_run(rescues, runs), "training": effect_on_training(runs),
            "bands": {optimizer: bands(runs, optimizer) for optimizer in ("adam", "sgd")}}


def spoken(effect: claims.Effect) -> dict:
    """Return a claim's numbers as the text names them."""
    paper = [f"{effect.claim.paper(net):.3g}" for net in ("std", "bn")] \
        if effect.claim.paper else None
    return {"plain": claims.mean_in_three_digits(effect.plain),
            "normed": claims.mean_in_three_digits(effect.normed), "paper": paper}


def shortest(runs: measures.Runs) -> dict:
    """Return, by net, at how many of its late probes the shortest of the paper's steps gives β."""
    found = {}
    for norm in ("none", "batch"):
        steps = np.concatenate([
            run["smoothness"][:, measures.PAPER].argmax(1)[measures.late(run["probe_steps"])]
            for run in measures.find(runs, "pair", norm=norm)])
        found[norm] = f"{(steps == 0).sum()} of {len(steps)}"
    return found


def edges(runs: measures.Runs) -> dict:
    """Return, by net, η·κ at each rate: its median from step 200 to 500, the mean over the runs
    that learn, and how many of them do."""
    found = {}
    for norm in ("none", "batch"):
        words = []
        for lr, some in measures.at_rates(runs, norm).items():
            learn = [run for run in some if not measures.failed([run], measures.SHORTEST)]
            if learn:
                mean = np.mean([measures.edge_median(run, measures.SHORTEST) for run in learn])
                words.append(f"{mean:.1f} at {lr:g} ({len(learn)} of {len(some)})")
        found[norm] = ", ".join(words)
    return found


def if_run(measure: Callable[[measures.Runs], dict], runs: measures.Runs) -> dict | None:
    """Return what `measure` says of the runs; None where those that it needs are missing."""
    with contextlib.suppress(measures.NotRun):
        return measure(runs)


def long_pair(runs: measures.Runs) -> dict:
    """Return, by norm, what the longer runs reach: seeds, steps, accuracy on training batches and
    on the test images in percent; of η·κ the median from step 200 to 500, the largest over a tenth
    of the steps, and that over the last two fifths, with its mean there weighted by ‖g‖² and the
    median of what is read over the whole step."""
    def numbers(some: list[dict]) -> dict:
        steps = some[0]["run"]["steps"]
        late = steps * 3 // 5

        def mean(measure: Callable[..., float], *args, **more) -> float:
            return np.mean([measure(run, *args, **more) for run in some])

        tenths = [mean(measures.edge_median, steps * (i + 1) // 10, first=steps * i // 10)
                  for i in range(10)]
        return {"seeds": len(some), "steps": f"{steps:,}",
                "training": f"{mean(measures.training_percent):.1f}",
                "test": mean_and_deviation([100 * run["test_accuracy"][-1] for run in some], 1),
                "edge_early": f"{mean(measures.edge_median, measures.SHORTEST):.1f}",
                "edge_top": f"{max(tenths):.0f}", "edge_from": f"{late:,}",
                "edge": f"{mean(measures.edge_median, first=late):.0f}",
                "edge_weighted": f"{mean(edge_weighted, late):.0f}",
                "edge_whole": f"{mean(edge_whole, late):.1f}"}

    return {norm: numbers(measures.find(runs, "long", norm=norm)) for norm in ("none", "batch")}


def edge_whole(run: dict, first: int) -> float:
    """Return the median of η·κ, read over whole steps, from step `first` on."""
    there = run["edge_steps"] >= first
    return float(np.median(run["run"]["lr"] * run["edge_curvature"][there, -1]))


def edge_weighted(run: dict, first: int) -> float:
    """Return the mean of η·κ from step `first` on, weighted by ‖g‖²: batches that are all but
    learned count little in it."""
    there = run["edge_steps"] >= first
    return float(np.average(measures.late_edge(run, first=first),
                            weights=run["edge_gradient_norm"][there] ** 2))


def noise(runs: measures.Runs) -> dict:
    """Return, of nets with and without noise, by norm, percent right: of held-out images in the
    end, also with statistics taken anew, and of training batches at step 300; and what noise by
    channel costs batch norm of each, with the 95 % interval's half."""
    percents = {"held_out": measures.validation_percent, "anew": measures.anew_percent,
                "training": partial(measures.training_percent, step=300)}
    nets = {norm: measures.find(runs, "noise", norm=norm)
            for norm in ("none", "batch", "noisy_batch_channel", "noisy_batch")}
    found = {}
    for name, of_run in percents.items():
        right = {norm: {run["run"]["seed"]: of_run(run) for run in some}
                 for norm, some in nets.items()}
        noisy = right["noisy_batch_channel"]
        lost = [value - noisy[seed] for seed, value in right["batch"].items() if seed in noisy]
        found[name] = {"cost": claims.signed(*t_interval(lost)).lstrip("+"),
                       **{norm: claims.mean_in_three_digits(list(some.values()))
                          for norm, some in right.items()}}
    return found


def heads(runs: measures.Runs) -> dict:
    """Return, at the largest rate, by norm and head: how many seeds, and how many of them
    diverged, training accuracy at step 500, and the largest of the first losses, with the seed
    where it is least."""
    arms: dict[str, list[dict]] = {}
    for group in ("rates", "heads"):
        for run in measures.find(runs, group, lr=0.5):
            about = run["run"]
            arm = f"{about['norm']}-{about['head']}" + "-warmup" * bool(about["warmup"])
            arms.setdefault(arm, []).append(run)
    if len(arms) < 7:
        raise measures.NotRun
    found = {}
    for arm, some in arms.items():
        right = [measures.training_percent(run, 500) for run in some]
        found[arm] = {"seeds": len(some),
                      "diverged": sum(not np.isfinite(run["loss"][-1]) for run in some),
                      "accuracy": mean_and_deviation(right, 1),
                      "thrown": f"{min(np.nanmax(run['loss'][:50]) for run in some):.0f}"}
    return found


def rescues(runs: measures.Runs) -> dict:
    """Return training accuracy in the end, by net of `RESCUE_LOOKS` and learning rate."""
    return {label: {f"{lr:g}": mean_and_deviation(list(map(measures.training_percent, some)), 1)
                    for lr, some in measures.by_rate(measures.rescues(runs, *key)).items()}
            for key, (label, *_) in RESCUE_LOOKS.items()}


def effect_on_training(runs: measures.Runs) -> list[list[str]]:
    """Return a row for each learning rate and net: accuracy, and steps to given accuracies."""
    lines = [["LR", "net", "seeds", "steps", "training accuracy (%), step 500",
              "validation accuracy (%), end", "steps to 50 %", "to 70 %"]]
    nets = {}
    for net, norm in (("no norm", "none"), ("batch norm", "batch")):
        nets[net] = measures.at_rates(runs, norm)
        with contextlib.suppress(measures.NotRun):
            nets[f"{net}, He's weights"] = measures.by_rate(
                measures.find(runs, "init", norm=norm))
    rows = [(lr, net, mine) for net, at_rates in nets.items() for lr, mine in at_rates.items()]
    for lr, net, mine in sorted(rows, key=lambda row: row[0]):
        train, right = (mean_and_deviation([percent_of(run, *at) for run in mine], 1)
                        for percent_of, *at in ((measures.training_percent, 500),
                                                (measures.validation_percent,)))
        whole = [len(run["loss"]) for run in mine if np.isfinite(run["loss"][-1])]
        steps = str(max(whole)) if whole else "diverged"
        lines.append([f"{lr:g}", net, str(len(mine)), steps, train, right,
                      *(reached([measures.steps_to(run, share) for run in mine])
                        for share in (0.5, 0.7))])
    return lines


def reached(steps: list[int | None]) -> str:
    there = [step for step in steps if step is not None]
    missing = f" (in {len(there)} of {len(steps)})" if 0 < len(there) < len(steps) else ""
    return mean_and_deviation(there, 0) + missing if there else "–"


def bands(runs: measures.Runs, optimizer: str) -> dict:
    """Return `band` of the handout's runs, by norm, without the rate that is slowest without it."""
    both = {norm: measures.find(runs, "envelope", optimizer=optimizer, norm=norm)
            for norm in ("none", "batch")}
    slowest = max(both["none"], key=lambda run: run["loss"][-50:].mean())["run"]["lr"]
    return {norm: band(some, slowest) for norm, some in both.items()}


def band(runs: list[dict], slowest: float) -> dict:
    """Return, of runs that differ in rate, the median width of their band of losses, also without
    one of the rates; its end."""
    steps = min(len(run["loss"]) for run in runs)
    loss = np.stack([run["loss"][:steps] for run in runs])
    last = loss[:, -50:].mean(1)
    others = loss[[run["run"]["lr"] != slowest for run in runs]]
    return {"width": f"{np.median(np.ptp(loss, 0)):.2f}",
            "without_slowest": f"{np.median(np.ptp(others, 0)):.2f}",
            "low": f"{last.min():.2f}", "high": f"{last.max():.2f}",
            "test": ", ".join(f"{100 * run['test_accuracy'][-1]:.1f}" for run in runs),
            "epochs": len(runs[0]["validation_steps"]),
            "rates": ", ".join(f"{run['run']['lr']:g}" for run in runs)}


def horizons(short: Path, long: Path) -> dict:
    """Return what the picture of both lengths says, by which share of the first variant's errors
    CutMix adds to them; for each length, Muon's lead over Adam and over itself without rescaling,
    and this one's over Adam on filters; and a phrase for each loss in the long one."""
    found = read_horizons(short, long)
    first, *others = found[2]["augmentation"]
    cutmix, = (pair for pair in others if pair[0]["variant"] == "with CutMix")
    shares = [percent(-row["difference"] / (100 - base["accuracy"]), 0)
              for row, base in zip(cutmix, first, strict=True)]
    by_name = {pair[0]["variant"]: pair for pair in found[2]["optimizers"]}
    lead = [with_spread(-by_name[name][i]["difference"], by_name[name][i]["uncertainty"])
            for i in (0, 1) for name in ("Adam", "Muon, not rescaling")]
    unscaled = [compared.beside_adam(compared.Comparisons(folder)) for folder in (short, long)]
    losses = {row["variant"]: says(row) for _, row in found[2]["losses"][1:]}
    return caption_words(*found) | {"cutmix": listed(shares), "lead": lead, "unscaled": unscaled,
                                     "losses": losses}


PARTS = {  # a file, what makes it, and what reads it
    "presets": ("runs.csv", "codes/summarise.py RUN", runs_of_presets),
    "shorter": ("runs_best_40_epochs.csv",
                "git checkout reports/results/runs_best_40_epochs.csv",
                lambda path: errors(read_csv(path, presets.PRESET_RUN))),
    "data": ("evaluation.json", 'make evaluate ARGS="--ckpt reports/models/cifarnet.pt"', data),
    "front": ("published.csv", "git checkout reports/results/published.csv", front),
    "compare": ("compare/quick/summary.csv", "make compare", compared.comparisons_for_report),
    "repeated": ("compare-xeon/quick/summary.csv",
                 "git checkout reports/results/compare-xeon", compared.repeated_for_report),
    "changes": ("compare/long/summary.csv", 'make compare ARGS="--base long"',
                lambda path: cells(changes_table(path.parents[1]))),
    "ways": ("compare/long/summary.csv", 'make compare ARGS="--base long"',
             compared.recipe_for_report),
    "horizons": ("compare/long/summary.csv", 'make compare ARGS="--base long"',
                 lambda path: horizons(path.parents[1] / "quick", path.parent)),
    "scratch": ("from_scratch.csv", "make from-scratch", scratch),
    "bench": ("bench.json", "make bench", bench),
    "direct": ("runs_direct.csv", "git checkout reports/results/runs_direct.csv",
               lambda path: {"text": bench_tables.direct_text(
                   *(read_csv(file, presets.PRESET_RUN)
                     for file in (path, path.with_name("runs.csv"))))}),
    "peer": ("peer.json", "codes/bench_peer.py", lambda path: {
        "text": bench_tables.peer_text(
            read_json(path), read_csv(path.with_name("runs_direct.csv"), presets.PRESET_RUN))}),
    "mistakes": ("mistakes.json", "make insights", mistakes),
    "robustness": ("robustness.json", "make insights", robustness),
    "similarity": ("features/similarity.npz", "make insights", similarity),
    "landscape": ("landscape/path.npz", "make landscape", landscape),
    "learning": ("learning/learning.npz", "make insights", learning),
    "bn": ("bn/full/pair/none-bfloat16-sgd-0.1-s0.npz",
           'make bn-landscape ARGS="--preset full --precision bfloat16"', bn),
    "bn_bench": ("bn/bench.json", "VGG_BatchNorm/bench_study.py", bn_bench)}


def collect(results: Path) -> dict:
    """Return all that report.typ shows, by the name of the part. Raises UserError: a file is
    missing or of another shape; names it, and what makes it."""
    found = {}
    for name, (file, maker, read) in PARTS.items():
        path = results / file
        if not path.exists():
            raise UserError(f"{path} is missing; `{maker}` makes it")
        try:
            found[name] = read(path)
        except UserError as error:
            raise UserError(f"{path} cannot be used ({error}); `{maker}` makes it") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
                measures.NotRun) as error:
            raise UserError(f"{path} cannot be used (another shape than expected, {error!r}); "
                            f"`{maker}` makes it") from None
    recipe = DEFAULTS | PRESETS["strong"]
    return found | {"recipe": recipe, "network": network(recipe)}
