"""What the report says of the comparisons: tables, the variants' order, the tuning of rates."""

import statistics
from pathlib import Path

from codes.results.advice import better_worse_or_unclear, says, seeds, short
from codes.results.compare_results import FACTOR, by_effect, judged, outcome
from codes.results.comparisons import ASIDE, ORDER, Comparisons, by_study, study_table
from codes.results.words import cells, listed, mean_and_deviation, percent, with_spread
from VGG_BatchNorm.ground.script import UserError
from VGG_BatchNorm.ground.statistics import t_interval

TUNING = ["optimizer", "rates that were tried", "best", "accuracy (%)", "next below / above"]


def comparisons_for_report(path: Path) -> dict:
    """compare/quick: every study, the base, the tuning of the optimizers, and what did not help."""
    runs = Comparisons(path.parent)
    if missing := [name for name in ORDER if name not in (*runs.studies, *ASIDE, "final")]:
        raise UserError(f"no study {missing[0]}")
    base, sensitivity = runs.base, tuning(runs)
    return {"base": {"checksum": base["data_md5"], "epochs": base["epochs"],
                     "batch_size": base["batch_size"],
                     "widths": ", ".join(map(str, base["widths"])),
                     "small_share": percent(base["small_share"], 0),
                     "seeds": seeds([row for name, rows in runs.studies.items()
                                     if name != "final" for row in rows]), **fit(runs, "{}")},
            "component_fit": fit(runs, runs.studies["components"][0]["changes"]),
            "studies": {name: study_for_report(rows) for name, rows in runs.studies.items()},
            "tuning": {"table": [TUNING, *(row for row, _ in sensitivity)], "factor": f"{FACTOR:g}",
                       "least": min(sensitivity, key=lambda row: row[1])[0][0],
                       "most": max(sensitivity, key=lambda row: row[1])[0][0]},
            "directions": paired(runs, ("optimizers", "Muon, not rescaling"),
                                 ("optimizers", "SGD, Nesterov, on filters")),
            "adam_with_l1": paired(runs, ("losses", "label smoothing + L1"),
                                   ("optimizers", "Muon")),
            "edge": [row["variant"] for row in runs.studies["optimizers"] if row["edge"]]}


def recipe_for_report(path: Path) -> dict | None:
    """compare/long: the ways to spend as many FLOPs, if that study was run there."""
    runs = Comparisons(path.parent)
    if len(rows := runs.studies.get("recipe", [])) < 2:
        return None
    others = by_effect(rows[1:])
    base, best = (runs.seeds(row["changes"]) for row in (rows[0], others[-1]))
    both = sorted(base.keys() & best.keys())
    alone = with_spread(judged(best[both[0]]) - judged(base[both[0]]), None, "+") \
        if len(both) > 1 else None
    return {"n": len(others), "base": study_for_report(rows),
            "first": alone,
            "widths": ", ".join(map(str, runs.base["widths"])), "epochs": runs.base["epochs"],
            "seeds": seeds(rows), "best": short(others[-1]), "worst": short(others[0])}


def repeated_for_report(path: Path) -> dict:
    """compare-xeon/quick, which was run first, on another CPU, beside compare/quick: how many
    differences both have, how many of them lie outside of their first interval, how many were
    clear, and which of these are not so again, in the same direction; seconds of each optimizer's
    runs on that CPU, when nothing else ran."""
    first, again = by_study(path.parent), by_study(path.parents[2] / "compare" / "quick")
    pairs = [(row, new) for study, rows in first.items() for row in rows[1:]
             for new in again.get(study, ())
             if new["variant"] == row["variant"] and row["uncertainty"] is not None]
    clear = [pair for pair in pairs if pair[0]["clear"]]
    outside = [abs(new["difference"] - row["difference"]) > row["uncertainty"]
               for row, new in pairs]
    return {"device": Comparisons(path.parent).rows[0]["device"].partition("(")[0],
            "seeds": seeds(sum(first.values(), [])), "differences": len(pairs),
            "outside": sum(outside), "clear": len(clear),
            "lost": [f"“{short(row)}”" for row, new in clear
                     if not new["clear"] or new["difference"] * row["difference"] < 0],
            "seconds": {row["variant"]: f"{row['seconds']:.0f}" for row in first["optimizers"]}}


def fit(runs: Comparisons, changes: str) -> dict:
    """Return a variant's accuracy (%) on training and held-out images, and whether the first is
    the higher one."""
    train, validation = ([100 * row[f"{name}_accuracy"] for row in runs.seeds(changes).values()]
                         for name in ("train", "validation"))
    return {"memorises": statistics.mean(train) > statistics.mean(validation),
            "train": mean_and_deviation(train, 2), "validation": mean_and_deviation(validation, 2)}


def paired(runs: Comparisons, *two: tuple[str, str]) -> str:
    """Return by how many points one variant is ahead of another, each given as (study, name), with
    the 95 % interval's half, over the seeds that both have."""
    sides = [runs.seeds(row["changes"]) for study, name in two
             for row in runs.studies[study] if row["variant"] == name]
    both = sorted(sides[0].keys() & sides[1].keys())
    differences = [judged(sides[0][seed]) - judged(sides[1][seed]) for seed in both]
    return with_spread(*t_interval(differences), "+")


def beside_adam(runs: Comparisons) -> str:
    """Return the lead of Muon that does not rescale over Adam on the same filters, as `paired`."""
    return paired(runs, ("optimizers", "Muon, not rescaling"), ("optimizers", "Adam on filters"))


def study_for_report(rows: list[dict]) -> dict:
    """Return its table, which variants are better or worse than the first, a phrase for each."""
    first, others = rows[0], list(reversed(by_effect(rows[1:])))
    return {"table": cells(study_table(rows)), "first": first["variant"],
            "accuracy": with_spread(first["accuracy"], first["deviation"]),
            "verdicts": verdicts(first, others),
            "better": [short(row) for row in others if better_worse_or_unclear(row) == "better"],
            "variants": {short(row): {
                "accuracy": with_spread(row["accuracy"], row["deviation"]), "says": says(row),
                "kind": better_worse_or_unclear(row),
                "cost": f"{row['flops'] / first['flops']:.1f}",
                "error": 100 - (row["accuracy"] or 0)} for row in rows}}


def verdicts(first: dict, others: list[dict]) -> str:
    """Return sentences that say how each variant of a study compares with its first."""
    groups: dict[str, list[str]] = {}
    for row in others:
        kind = better_worse_or_unclear(row)
        if outcome(row) == "uncorrected":
            kind = "higher" if row["difference"] > 0 else "lower"
        groups.setdefault(kind, []).append(f"“{short(row)}”")
    names = {kind: listed(found) for kind, found in groups.items()}
    text = (f"Clearly better than “{short(first)}”: {names['better']}." if "better" in names
            else f"Nothing is clearly better than “{short(first)}”.")
    for kind, said in {"worse": "Clearly worse", "unclear": "No clear difference",
                       "higher": "Higher, uncorrected",
                       "lower": "Lower, uncorrected"}.items():
        text += f" {said}: {names[kind]}." if kind in names else ""
    return text


def tuning(runs: Comparisons) -> list[tuple[list[str], float]]:
    """Return, for each optimizer, a row on its rates, and how much the rates next to the best lose,
    at the worse of its sides."""
    rows = []
    for row in runs.studies["optimizers"]:
        tries, kept = runs.tries(row)
        rates, right = zip(*tries, strict=True)
        place = rates.index(kept[0])
        beside = [right[i] if 0 <= i < len(right) else None for i in (place - 1, place + 1)]
        rows.append(([row["variant"], f"{len(tries)}, from {min(rates):g} to {max(rates):g}",
                      f"{kept[0]:g}", f"{kept[1]:.2f}",
                      " / ".join("–" if one is None else f"{one:.2f}" for one in beside)],
                     kept[1] - min((one for one in beside if one is not None), default=kept[1])))
    return rows
