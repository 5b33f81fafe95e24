"""Collect finished runs into reports/results/runs.csv; renew the tables of the pages.

    python codes/summarise.py runs/strong-s0 runs/strong-s1 runs/strong-s2 --ship runs/strong-s0

A run that is in the file already is replaced; without arguments the tables alone are renewed, from
the files in reports/results/. A table stands between <!-- name --> and <!-- /name -->. --ship
writes a run's weights, in float16 and without optimizer state, to reports/models/cifarnet.pt, and
its log to reports/results/cifarnet/, from which its training curves are drawn; --as NAME, to files
of another name."""

import re
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.documents.front_page import readme
from codes.documents.map import room_map
from codes.documents.preset_tables import larger_weights, model_card
from codes.results.presets import PRESET_RUN
from codes.settings import DEFAULTS, choose_settings, make_parser
from VGG_BatchNorm.ground import files
from VGG_BatchNorm.ground.checkpoint import load_checkpoint, save_checkpoint
from VGG_BatchNorm.ground.cifar10 import CIFAR10_MD5
from VGG_BatchNorm.ground.files import write_text
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, run_main, user_path
from VGG_BatchNorm.ground.tables import markdown

PAGES = {"README.md": readme,
         "MODEL_CARD.md": lambda results: {"model": markdown(model_card(results)),
                                           "larger": markdown(larger_weights(results))},
         "codes/README.md": lambda results: {"map": room_map(files.ROOT, "codes")},
         "VGG_BatchNorm/README.md": lambda results: {"map": room_map(files.ROOT, "VGG_BatchNorm")}}


def config_on_cifar10(folder: Path) -> dict:
    """Return a run's config.json, if the run was trained on CIFAR-10."""
    config = files.read_json(folder / "config.json", "settings", "data_md5")
    if config["data_md5"] != CIFAR10_MD5:
        raise UserError(f"{folder} was not trained on CIFAR-10, which the tables are of")
    return config


def collect(folders: list[Path], table: Path) -> None:
    """Add or replace a row of `table` for each finished run of a preset as it stands."""
    rows = {(row["preset"], row["seed"]): row for row in files.read_csv(table, PRESET_RUN)}
    for folder in folders:
        settings = config_on_cifar10(folder)["settings"]
        settings = DEFAULTS | settings  # a run that does not name a setting is older than it
        flags = make_parser("").parse_args(["--preset", settings["preset"]])
        preset = choose_settings(flags, torch.device("cpu")).as_dict()
        changed = [name for name, value in preset.items() if settings.get(name) != value
                   and name not in ("seed", "precision", "compile")]
        if changed:
            raise UserError(f"{folder} is not the preset {settings['preset']}: "
                            f"{', '.join(changed)} differ")
        result = files.read_json(folder / "result.json", "preset", "seed")
        rows[result["preset"], result["seed"]] = {name: result.get(name) for name in PRESET_RUN}
    files.write_csv(table, [dict.fromkeys(PRESET_RUN) | rows[key] for key in sorted(rows)])


def renew(text: str, tables: dict[str, str]) -> str:
    """Return `text` with each table put between its markers."""
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(pattern, lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text,
                              flags=re.S)
        if not found:
            raise UserError(f"a page has no <!-- {name} --> markers")
    return text


def ship(folder: Path, path: Path, log: Path) -> None:
    """Write the weights of a run to `path`, its log and result into the folder `log`.

    Filters and matrices are written in float16, two bytes a weight; vectors are few, and variances
    may be too small for it."""
    files.read_json(folder / "result.json", "preset", "seed")  # a run that has not ended has none
    content = load_checkpoint(folder / "last.pt")
    weights = {name: t.half() if t.ndim > 1 else t
               for name, t in content["weights"].items()}
    save_checkpoint(path, content["network"], content["config"], weights,
                    settings=content["settings"], epoch=content["epoch"])
    for name in ("log.csv", "result.json"):
        with files.atomic_write(log / name) as file:
            file.write((folder / name).read_bytes())


def main() -> None:
    parser = flag_parser(__doc__)
    add = parser.add_argument
    add("runs", nargs="*", type=user_path, help="run folders")
    add("--ship", type=user_path, metavar="RUN", help="the run whose weights the repository ships")
    add("--as", dest="name", default=files.SHIPPED_WEIGHTS.stem,
        help="name of these weights in reports/models/ (default: %(default)s, which is drawn)")
    args = parser.parse_args()
    if args.name != files.SHIPPED_WEIGHTS.stem and not args.ship:
        raise UserError("--as names the weights of --ship; give both")
    if args.ship:
        config_on_cifar10(args.ship)
        weights = files.SHIPPED_WEIGHTS.with_name(f"{args.name}.pt")
        ship(args.ship, weights, files.RESULTS_DIR / args.name)
    collect(args.runs, files.RESULTS_DIR / "runs.csv")
    for name, found in PAGES.items():
        text = renew((files.ROOT / name).read_text(encoding="utf-8"), found(files.RESULTS_DIR))
        write_text(files.ROOT / name, text)
        print(files.ROOT / name)


if __name__ == "__main__":
    run_main(main)
