"""What the report says of the comparisons: tables, the variants' order, the tuning of rates."""

import statistics
from pathlib import Path

from codes.documents.tables import cells
from codes.results.advice import better_worse_or_unclear, says, seeds, short
from codes.results.compare_results import leans, sorted_by_effect
from codes.results.comparisons import ORDER, Comparisons, study_table, without_effect
from codes.results.words import listed, mean_and_deviation, percent, with_spread
from VGG_BatchNorm.ground.script import UserError

ASIDE = ("damped_muon", "losses_muon", "final")  # studies that the report can do without
TUNING = ["optimizer", "rates that were tried", "best", "accuracy (%)", "median of all"]


def comparisons_for_report(path: Path) -> dict:
    """compare/quick: every study, the base, the tuning of the optimizers, and what did not help."""
    runs = Comparisons(path.parent)
    if missing := [name for name in ORDER if name not in (*runs.studies, *ASIDE)]:
        raise UserError(f"no study {missing[0]}")
    first, base = runs.seeds("{}").values(), runs.base
    sensitivity = tuning(runs)
    train, validation = ([100 * row[f"{name}_accuracy"] for row in first]
                         for name in ("train", "validation"))
    return {"base": {"checksum": base["data_md5"], "epochs": base["epochs"],
                     "batch_size": base["batch_size"],
                     "widths": ", ".join(map(str, base["widths"])),
                     "small_share": percent(base["small_share"], 0),
                     "seeds": seeds(sum(runs.studies.values(), [])),
                     "memorises": statistics.mean(train) > statistics.mean(validation),
                     "train": mean_and_deviation(train, 2),
                     "validation": mean_and_deviation(validation, 2)},
            "studies": {name: study_for_report(rows) for name, rows in runs.studies.items()},
            "tuning": {"table": [TUNING, *(row for row, _ in sensitivity)],
                       "least": min(sensitivity, key=lambda row: row[1])[0][0],
                       "most": max(sensitivity, key=lambda row: row[1])[0][0]},
            "edge": [row["variant"] for row in runs.studies["optimizers"] if row["edge"]],
            "without_effect": without_effect_by_study(runs)}


def study_for_report(rows: list[dict]) -> dict:
    """Return its table, which variants are better or worse than the first, a phrase for each."""
    first, others = rows[0], list(reversed(sorted_by_effect(rows[1:])))
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
    groups: dict[str, list[str]] = {"better": [], "worse": [], "higher": [], "lower": [], "": []}
    for row in others:
        kind = better_worse_or_unclear(row)
        if kind == "unclear":
            kind = "" if not leans(row) else "higher" if row["difference"] > 0 else "lower"
        groups[kind].append(f"“{short(row)}”")
    names = {kind: listed(found) for kind, found in groups.items() if found}
    text = (f"Clearly better than “{short(first)}”: {names['better']}." if "better" in names
            else f"Nothing is clearly better than “{short(first)}”.")
    for kind, said in {"worse": "Clearly worse", "": "Not told apart",
                       "higher": "Higher by their own intervals only",
                       "lower": "Lower by their own intervals only"}.items():
        text += f" {said}: {names[kind]}." if kind in names else ""
    return text


def tuning(runs: Comparisons) -> list[tuple[list[str], float]]:
    """Return, for each optimizer, a row on its rates, and how much the best beats the median."""
    rows = []
    for row in runs.studies["optimizers"]:
        tries, kept = runs.tries(row)
        median, tried = statistics.median(right for _, right in tries), [lr for lr, _ in tries]
        rows.append(([row["variant"], f"{len(tries)}, from {min(tried):g} to {max(tried):g}",
                      f"{kept[0]:g}", f"{kept[1]:.2f}", f"{median:.2f}"], kept[1] - median))
    return rows


def without_effect_by_study(runs: Comparisons) -> list[list[str]]:
    """Return what did not help, a row a study: what is worse, leans to a side, and does neither."""
    rows = {}
    for row in without_effect(runs.studies):
        parts = rows.setdefault(row["study"].replace("_", " "), ([], [], []))
        mine = 0 if better_worse_or_unclear(row) == "worse" else 1 if leans(row) else 2
        parts[mine].append(f"{row['variant']} ({with_spread(row['difference'], None, '+')})")
    return [["study", "clearly worse (points)", "by its own interval only", "not told apart"],
            *([name, *("; ".join(part) or "–" for part in row)] for name, row in rows.items())]
