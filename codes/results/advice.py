"""What the comparisons say to a reader: a phrase for each variant, a paragraph for each study."""

import json

from codes.results.compare_results import by_effect, outcome
from codes.results.words import listed, minus, with_spread


def short(row: dict) -> str:
    """Return a variant's name without what follows a colon: "× 2: 32, 128, 128" is "× 2"."""
    return row["variant"].partition(":")[0]


def better_worse_or_unclear(row: dict) -> str:
    """Return how a variant compares with its study's first: better, worse (or failed), unclear."""
    return {"better": "better", "worse": "worse", "failed": "worse"}.get(outcome(row), "unclear")


def says(row: dict) -> str:
    """Return how a variant compares with the first of its study, as the end of a sentence."""
    said = outcome(row)
    if said == "failed":
        return "fails with every seed"
    if row["uncertainty"] is None:
        return f"differs by {points(row)} points in one run"
    if said == "no clear difference":
        return f"makes no clear difference ({points(row)} points)"
    gained = with_spread(abs(row["difference"]), row["uncertainty"])
    return (f"{'gains' if row['difference'] > 0 else 'loses'} {gained} points"
            + (" (uncorrected)" if said == "uncorrected" else ""))


def points(row: dict) -> str:
    return with_spread(row["difference"], row["uncertainty"], "+")


def what_was_trained(base: dict) -> str:
    return (f"CifarNet {', '.join(map(str, base['widths']))}; {base['epochs']} epochs, batches of "
            f"{base['batch_size']}")


def seeds(rows: list[dict]) -> str:
    """Return "3 seeds", "1 seed", or "1 to 3 seeds"."""
    few, many = (end(row["n"] for row in rows) for end in (min, max))
    return (f"{few} to " if few < many else "") + f"{many} seed" + ("s" if many > 1 else "")


def paragraph(rows: list[dict], base: dict) -> str:
    """Return what to do, when, and how sure that is, as far as the rows of a study bear it."""
    first, others = rows[0], list(reversed(by_effect(rows[1:])))
    if not others:
        return f"Nothing is compared: {_name(first)} stands alone."
    if first["accuracy"] is None:
        return f"Nothing is compared: {_name(first)} failed with every seed."
    better, worse, unclear = ([row for row in others if better_worse_or_unclear(row) == word]
                              for word in ("better", "worse", "unclear"))
    return " ".join(["**What to do.**", *_do(first, better, worse, unclear),
                     "**When.**", *_when(rows, base),
                     "**How sure.**", *_sure(rows, unclear)])


def _name(row: dict) -> str:
    return f"`{short(row)}`"


def _priced(row: dict, first: dict) -> str:
    """Return how a variant compares, and what it costs, if that differs by 5 % or more."""
    cost = row["flops"] / first["flops"]
    return says(row) + (f", for {cost:.1f} times the FLOPs" if abs(cost - 1) >= 0.05 else "")


def _do(first: dict, better: list[dict], worse: list[dict], unclear: list[dict]) -> list[str]:
    name = _name(first)
    if optimizer := json.loads(first["changes"]).get("optimizer"):
        name += f" (under {optimizer})"
    if better:
        more = "".join(f"; {_name(row)} {_priced(row, first)}" for row in better[1:])
        text = [f"Take {_name(better[0])} in place of {name}: "
                f"it {_priced(better[0], first)}{more}."]
    elif worse:
        text = [f"Keep {name}: nothing here is clearly better."]
    else:
        text = [f"Keep {name} until more is known: nothing here differs from it clearly after "
                "correction for the number of variants."]
    best = better[0]["difference"] if better else 0
    if higher := [f"{_name(row)} ({points(row)})" for row in unclear
                  if row["difference"] is not None and row["difference"] > best]:
        text.append("Higher in the mean, and worth more seeds before you choose: "
                    f"{listed(higher)}.")
    if len(worse) > 2:
        least, most = (f"{_name(row)}, which {_priced(row, first)}" for row in
                       (worse[0], worse[-1]))
        text.append(f"{len(worse)} are clearly worse, from {least}, to {most}.")
    elif worse:
        each = "; ".join(f"{_name(row)} {_priced(row, first)}" for row in worse)
        text.append(f"Clearly worse: {each}.")
    return text


def _when(rows: list[dict], base: dict) -> list[str]:
    changes = json.loads(rows[0]["changes"])
    with_ = listed([f"{name} {value}" for name, value in changes.items()])
    text = [f"{what_was_trained(base)}" + (f"; here with {with_}." if changes else ".")]
    if edges := [_name(row) for row in rows if row["edge"]]:
        text.append(f"Tuning ended at the first or last try for {listed(edges)}: a better one may "
                    "lie outside.")
    return text


def _sure(rows: list[dict], unclear: list[dict]) -> list[str]:
    clear = sum(bool(row["clear"]) for row in rows[1:])
    text = [f"{seeds(rows)}; clear: {clear} of {len(rows) - 1}."]
    alone = [row for row in unclear if row["uncertainty"] is None]
    known = [row for row in unclear if row["uncertainty"] is not None]
    leaning = [row for row in known if outcome(row) == "uncorrected"]
    if leaning:
        text.append("Clear by their own interval, but not after correction for the number of "
                    f"variants (“uncorrected” below): {len(leaning)}.")
    if open_ := [row for row in known if row not in leaning]:
        low, high = (end(row["difference"] + sign * row["uncertainty"] for row in open_)
                     for end, sign in ((min, -1), (max, 1)))
        text.append(f"Not told from zero: {len(open_)}, within {minus(f'{low:+.2f}')} to "
                    f"{minus(f'{high:+.2f}')} points.")
    if alone:
        text.append(f"One pair says nothing of luck: {listed([_name(row) for row in alone])}.")
    if some := [f"{_name(row)} with {row['failures']} of {row['n']} seeds" for row in rows
                if 0 < row["failures"] < row["n"]]:
        text.append(f"Failed: {listed(some)}; their means are of the others.")
    return text
