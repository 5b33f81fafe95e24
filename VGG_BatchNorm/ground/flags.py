"""The flags that scripts have in common.

    args = flag_parser(__doc__, "--data-dir", "--device").parse_args()
"""

import argparse

from VGG_BatchNorm.ground.files import DATA_DIR
from VGG_BatchNorm.ground.script import count, user_path

SHARED = {
    "--ckpt": dict(nargs="?", type=user_path,
                   help="a run's last.pt, or a state_dict of your own\n"
                        "(default: the newest run, else the shipped weights)"),
    "--network": dict(help="what a state_dict of your own is of (default: as its shapes tell)"),
    "--data-dir": dict(type=user_path, default=DATA_DIR), "--device": dict(default="auto"),
    "--threads": dict(type=int, choices=range(1, 1025), metavar="N",
                      help="CPU threads (default: torch's choice)"),
    "--seed": dict(type=count, default=0)}


def flag_parser(manual: str, *shared: str) -> argparse.ArgumentParser:
    """Return a parser whose --help shows `manual` as it is, with those flags of SHARED."""
    parser = argparse.ArgumentParser(description=manual,
                                     formatter_class=argparse.RawTextHelpFormatter)
    for flag in shared:
        parser.add_argument(flag, **SHARED[flag])
    return parser
