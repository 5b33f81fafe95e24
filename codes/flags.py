"""The flags of scripts that draw, and the numbers that they name.

    args = picture_parser(__doc__).parse_args()
    data = numbers(args, "patches", "test", image=7, channels=6)
"""

import argparse
import importlib
from pathlib import Path

from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR, read_npz
from VGG_BatchNorm.ground.flags import SHARED, flag_parser
from VGG_BatchNorm.ground.script import user_path


def picture_parser(manual: str, results: Path = RESULTS_DIR, out: Path = FIGURES_DIR,
                   ckpt: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the flags of scripts that draw; `results` and `out` are defaults."""
    parser = flag_parser(manual, *list(SHARED)[0 if ckpt else 2:])
    parser.add_argument("--results", type=user_path, default=results, help="folder of the numbers")
    parser.add_argument("--redraw", action="store_true", help="draw from the numbers as they are: "
                        "without data set, checkpoint and torch")
    parser.add_argument("--out", type=user_path, default=out,
                        help="the picture" if out.suffix else "folder of the pictures")
    return parser


def numbers(args: argparse.Namespace, name: str, *splits: str, **settings) -> dict:
    """Return the numbers in <name>.npz in --results: with --redraw as they are, else of --ckpt.

    Args:
        name: of the module of codes/insight/ whose `measure(net, *splits, **settings)` gives them
            where they are not there yet.
        splits: of the data that it is given: train, test.

    Raises:
        UserError: the checkpoint, the data, the device or the file is missing or does not fit.
    """
    path = args.results / f"{name}.npz"
    if args.redraw:
        return read_npz(path)
    from codes.insight.measured import measured, net_and_data  # here: to draw again takes no torch

    measure = importlib.import_module(f"codes.insight.{name}").measure
    about, net, *data = net_and_data(args)
    data = dict(zip(("train", "test"), data, strict=True))
    return measured(path, about, measure, net, *(data[split] for split in splits), **settings)
