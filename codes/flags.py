"""The flags that scripts have in common: `args = picture_parser(__doc__).parse_args()`."""

import argparse
from pathlib import Path

from VGG_BatchNorm.ground.files import FIGURES_DIR, RESULTS_DIR
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, user_path


def picture_parser(manual: str, results: Path = RESULTS_DIR, out: Path = FIGURES_DIR,
                   net: tuple[str, ...] = ("--ckpt", "--network")) -> argparse.ArgumentParser:
    """Return a parser with the flags of scripts that measure and draw.

    Args:
        results, out: defaults of these flags.
        net: flags that say which net is measured.
    """
    parser = flag_parser(manual, *net, "--data-dir", "--device")
    parser.add_argument("--results", type=user_path, default=results, help="folder of the numbers")
    parser.add_argument("--out", type=user_path, default=out,
                        help="the picture" if out.suffix else "folder of the pictures")
    return parser


def refuse(args: argparse.Namespace, where: str, *names: str) -> None:
    """Raise UserError if one of the flags of these names, by default None, was given."""
    for name in names:
        if getattr(args, name) is not None:
            raise UserError(f"{where} does not use --{name}; leave it out")
