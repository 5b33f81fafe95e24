"""The flags that scripts have in common.

    args = flag_parser(__doc__, "--data-dir", "--device").parse_args()
"""

import argparse

from VGG_BatchNorm.ground.files import DATA_DIR
from VGG_BatchNorm.ground.script import count, user_path


def thread_count(text: str) -> int:
    """Return the whole number from 1 to 1024 that a flag's text is."""
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 1024")
    return value


SHARED = {
    "--ckpt": dict(nargs="?", type=user_path,
                   help="a run's last.pt, or a state_dict of your own\n"
                        "(default: the newest run, else the shipped weights)"),
    "--network": dict(help="what a state_dict of your own is of (default: as its shapes tell)"),
    "--data-dir": dict(type=user_path, default=DATA_DIR), "--device": dict(default="auto"),
    "--threads": dict(type=thread_count, help="CPU threads (default: torch's choice)"),
    "--seed": dict(type=count, default=0)}


def flag_parser(manual: str, *shared: str) -> argparse.ArgumentParser:
    """Return a parser whose --help shows `manual` as it is, with those flags of SHARED."""
    parser = argparse.ArgumentParser(description=manual,
                                     formatter_class=argparse.RawTextHelpFormatter)
    for flag in shared:
        parser.add_argument(flag, **SHARED[flag])
    return parser
