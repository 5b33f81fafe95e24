"""What a wider net and longer training change: `draw_horizons(*read_horizons(short, long))`."""

import re
from pathlib import Path

from codes.figures.comparisons import UNCLEAR, effect_panels
from codes.figures.readable import large
from codes.results import advice
from codes.results.comparisons import by_study
from codes.results.words import listed, minus
from VGG_BatchNorm.ground.files import read_json
from VGG_BatchNorm.ground.style import INDIGO, TEAL, plt
from VGG_BatchNorm.measures import NotRun

Pairs = dict[str, list[tuple[dict, dict]]]  # {study: [(row of the short base, of the long one)]}


def read_horizons(short: Path, long: Path) -> tuple[dict, dict, Pairs]:
    """Return the settings of two bases, and the rows of each variant that both compare.

    A study's first variant must be the same at both; its rows stand first. Variants are matched by
    their short names. Left out is what failed, and the study `final`, which is of the test set."""
    rows, others = by_study(short), by_study(long)
    pairs = {}
    for study in (name for name in rows if name in others and name != "final"):
        mine, later = ([row | {"variant": advice.short(row)} for row in one[study]]
                       for one in (rows, others))
        if mine[0]["variant"] == later[0]["variant"]:
            named = {row["variant"]: row for row in later}
            found = [(row, named[row["variant"]]) for row in mine if row["variant"] in named]
            pairs[study] = [found[0], *(pair for pair in found[1:] if all(
                row["difference"] is not None for row in pair))]
    return (read_json(short / "base.json", "epochs"), read_json(long / "base.json", "epochs"),
            {study: mine for study, mine in pairs.items() if len(mine) > 1})


def widths_and_epochs(base: dict) -> str:
    """Return widths and epochs of a base, "16, 64, 64; 4 epochs"."""
    return f"{', '.join(map(str, base['widths']))}; {base['epochs']} epochs"


def caption_words(short: dict, long: dict, pairs: Pairs) -> dict:
    """Return what the caption says of them."""
    both = [pair for mine in pairs.values() for pair in mine[1:]]
    told = [" ".join(map(advice.better_worse_or_unclear, pair)) for pair in both]
    counts = {"Clear in the same direction at both":
              told.count("better better") + told.count("worse worse"),
              "Clear in opposite directions":
              told.count("better worse") + told.count("worse better"),
              "Their intervals do not meet": sum(map(intervals_apart, both)),
              "The sign turns round, clear or not":
              sum(a["difference"] * b["difference"] < 0 for a, b in both)}
    other = [name for name in short
             if name not in ("epochs", "widths") and short[name] != long.get(name)]
    moved = max(both, key=lambda pair: abs(pair[1]["difference"] - pair[0]["difference"]),
                default=None)
    largest = "" if moved is None else minus(
        f"The largest change is that of “{moved[0]['variant']}” ({moved[0]['study']}), from "
        f"{moved[0]['difference']:+.2f} to {moved[1]['difference']:+.2f} points.")
    alone = sum(row["uncertainty"] is None for _, row in both)
    return {"short": widths_and_epochs(short), "long": widths_and_epochs(long),
            "told": " ".join(f"{said}: {number} of {len(both)}." for said, number in counts.items()
                             if number),
            "largest": largest,
            "alone": "One seed has no interval: its mark stays open." if alone else "",
            "other": f"The two differ in {listed(other)} too." if other else ""}


def intervals_apart(pair: tuple[dict, dict]) -> bool:
    """Return whether the 95 % intervals of two differences have no value in common."""
    if any(row["uncertainty"] is None for row in pair):
        return False
    a, b = pair
    return abs(a["difference"] - b["difference"]) > a["uncertainty"] + b["uncertainty"]


@large
def draw_horizons(short: dict, long: dict, pairs: Pairs):
    """What changes with a wider net and longer training. The difference in validation accuracy from
    the study's first variant (dashed line) at widths {short} (circles) and at {long} (squares),
    joined by a line, with 95 % intervals over seeds (Student's t) where there are two or
    more; filled where Holm's rule over the study's variants calls it clear, which more seeds (in
    brackets) make easier. Rates and strengths of regularisers are each length's own. Each panel has
    its own scale; of losses with a regulariser, those of cross-entropy are drawn. {told}
    {largest} {alone} {other}"""
    if not pairs:
        raise NotRun
    rows = {study: sorted((pair for pair in mine[1:] if drawn(study, pair[0], mine[0][0])),
                          key=lambda pair: pair[1]["difference"])
            for study, mine in pairs.items()}
    figure, panels = effect_panels({study: [row for row, _ in mine]
                                    for study, mine in rows.items()}, pitch=0.4)
    looks = ((TEAL, "o", 0.17), (INDIGO, "s", -0.17))  # above and below the line of a row
    for study, axis in panels.items():
        for y, pair in enumerate(rows[study]):
            axis.plot([row["difference"] for row in pair], [y + up for _, _, up in looks],
                      color=UNCLEAR, linewidth=1.2, zorder=1)
            for row, (color, marker, up) in zip(pair, looks, strict=True):
                axis.errorbar(row["difference"], y + up, xerr=row["uncertainty"] or 0,
                              fmt=marker, color=color, capsize=2, elinewidth=1,
                              markerfacecolor=color if row["clear"] else "white")
        axis.set_title(f"{study.replace('_', ' ')} ({seed_counts(rows[study])}),\n"
                       f"against {pairs[study][0][0]['variant']}")
    both = [pair for mine in rows.values() for pair in mine]
    handles = [plt.Line2D([], [], color=color, marker=marker, linestyle="none",
                          markerfacecolor=color if clear else "white",
                          label=f"{widths_and_epochs(base)}: {' or '.join(said)}")
               for base, (color, marker, _), mine in zip(
                   (short, long), looks, zip(*both, strict=True), strict=True)
               for clear in (True, False)
               if (said := sorted({clearness(row) for row in mine if row["clear"] == clear}))]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1,
                  columnspacing=1)
    return figure


def drawn(study: str, row: dict, first: dict) -> bool:
    """Return whether a row is drawn: of losses with a regulariser, those of the first loss."""
    loss, _, regulariser = row["variant"].partition(" + ")
    return study != "losses" or not regulariser or loss == first["variant"]


def clearness(row: dict) -> str:
    return ("clear" if row["clear"] else
            "one seed" if row["uncertainty"] is None else "not clear")


def seed_counts(pairs: list[tuple[dict, dict]]) -> str:
    """Return "3, then 1 seed", or "3 seeds"."""
    both = ", then ".join(dict.fromkeys(advice.seeds(list(rows))
                                        for rows in zip(*pairs, strict=True)))
    return re.sub(" seeds?, then", ", then", both)
