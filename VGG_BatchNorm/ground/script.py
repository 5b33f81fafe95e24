"""How a script starts and ends: types of flags; one line for Ctrl-C and what a user can mend."""

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

MENDABLE = "ENOSPC EDQUOT EACCES EPERM EROFS EFBIG ENOTDIR EISDIR EEXIST ENAMETOOLONG".split()
STOPPED = "stopped; the same command (train.py: with --resume) goes on from there"


class UserError(Exception):
    """Something the user can mend. Its text is the one line they see."""


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def count(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return value


def run_main(main: Callable[[], None]) -> None:
    """Call a script's `main`; one line and exit code 2 for what a user can mend, 130 for Ctrl-C."""
    sys.unraisablehook = _unraisable
    sys.argv[1:] = map(_with_home, sys.argv[1:])
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go into files, whatever the screen
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].use(os.environ["MPLBACKEND"])
    try:
        main()
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except OSError as error:
        if errno.errorcode.get(error.errno) not in MENDABLE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.exit(_complain(f"cannot read or write: {error.strerror}{place}; "
                           "nothing saved so far is lost", 2))
    except KeyboardInterrupt:
        sys.unraisablehook = lambda _: None  # objects that it left half made fail as they go
        sys.exit(_complain(STOPPED, 130))


def _with_home(argument: str) -> str:
    """`--flag=~/x` as it is meant; of `--flag ~/x`, the shell sees to that."""
    flag, equals, value = argument.partition("=")
    return flag + equals + os.path.expanduser(value)


def _unraisable(failed) -> None:
    """Ctrl-C struck in a destructor, which swallows it."""
    if failed.exc_type is not KeyboardInterrupt:
        return sys.__unraisablehook__(failed)
    sys.stdout.flush()
    os._exit(_complain(STOPPED, 130))


def _complain(text: str, code: int) -> int:
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    return code
