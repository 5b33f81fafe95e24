"""The flags that scripts have in common.

    args = flag_parser(__doc__, "--data-dir", "--device").parse_args()
    args = picture_parser(__doc__).parse_args()"""

import argparse
from pathlib import Path

from VGG_BatchNorm.ground.files import DATA_DIR, FIGURES_DIR, RESULTS_DIR
from VGG_BatchNorm.ground.script import UserError, count, number, user_path

SHARED = {
    "--ckpt": dict(nargs="?", type=user_path,
                   help="a run's last.pt, or a state_dict of your own\n"
                        "(default: the newest run, else the shipped weights)"),
    "--network": dict(help="what a state_dict of your own is of (default: as its shapes tell)"),
    "--data-dir": dict(type=user_path, default=DATA_DIR,
                       help="folder of cifar10.bin, which is fetched into it if missing"),
    "--device": dict(default="auto"),
    "--threads": dict(type=number(int, "a number from 1 to 1024", lambda n: 1 <= n <= 1024),
                      help="CPU threads (default: torch's choice)"),
    "--seed": dict(type=count, default=0)}


def flag_parser(manual: str, *shared: str) -> argparse.ArgumentParser:
    """Return a parser whose --help shows `manual` as it is, with those flags of SHARED."""
    parser = argparse.ArgumentParser(description=manual,
                                     formatter_class=argparse.RawTextHelpFormatter)
    for flag in shared:
        parser.add_argument(flag, **SHARED[flag])
    return parser


def picture_parser(manual: str, results: Path = RESULTS_DIR, out: Path = FIGURES_DIR,
                   net: tuple[str, ...] = ("--ckpt", "--network")) -> argparse.ArgumentParser:
    """Return a parser with the flags of scripts that measure and draw.

    Args:
        results, out: defaults of these flags.
        net: flags that say which net is measured."""
    parser = flag_parser(manual, *net, "--data-dir", "--device")
    parser.add_argument("--results", type=user_path, default=results, help="folder of the numbers")
    parser.add_argument("--out", type=lambda text: _file_or_folder(text, out), default=out,
                        help="the file, or its folder" if out.suffix else
                        "folder of the pictures")
    return parser


def _file_or_folder(text: str, default: Path) -> Path:
    """Return the path; where a file is meant and this is a folder's, the default's name in it."""
    path = user_path(text)
    is_folder = path.is_dir() or not path.suffix
    return path / default.name if default.suffix and is_folder else path


def refuse(args: argparse.Namespace, where: str, *names: str) -> None:
    """Raise UserError if one of the flags of these names, by default None, was given."""
    for name in names:
        if getattr(args, name) is not None:
            raise UserError(f"{where} does not use --{name}; leave it out")
