"""The flags that scripts which draw have in common.

    args = picture_parser(__doc__).parse_args()
"""

import argparse
from pathlib import Path

from VGG_BatchNorm.ground.files import DATA_DIR, FIGURES_DIR, RESULTS_DIR


def picture_parser(manual: str, results: Path = RESULTS_DIR, out: Path = FIGURES_DIR,
                   ckpt: bool = True) -> argparse.ArgumentParser:
    """The flags that scripts which draw have in common; `results` and `out` are defaults."""
    parser = argparse.ArgumentParser(description=manual, formatter_class=argparse.RawTextHelpFormatter)
    if ckpt:
        parser.add_argument("--ckpt", nargs="?", help="default: the newest run, else the shipped weights")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=results, help="folder of the numbers")
    parser.add_argument("--redraw", action="store_true",
                        help="draw from the numbers as they are: without data set, checkpoint and torch")
    parser.add_argument("--out", type=Path, default=out,
                        help="the picture" if out.suffix else "folder of the pictures")
    return parser
