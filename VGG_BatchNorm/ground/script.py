"""How every script starts and ends: types of flags; what a user can mend is one line, and so is Ctrl-C."""

import argparse
import errno
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

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
    """Call a script's `main`; what a user can mend ends in one line and exit code 2, Ctrl-C in 130."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is ignored
        signal.signal(signal.SIGINT, _interrupt)
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go into files, whatever the screen
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].use(os.environ["MPLBACKEND"])
    try:
        main()
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS,
                               errno.EFBIG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
                               errno.ENAMETOOLONG):
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.exit(_complain(f"cannot read or write: {error.strerror}{place}; nothing saved so far is lost", 2))
    except KeyboardInterrupt:
        sys.exit(_complain(STOPPED, 130))


def _interrupt(*_) -> None:
    """What SIGINT does: KeyboardInterrupt, and silence from the objects that it leaves half made."""
    sys.unraisablehook = _after_interrupt
    raise KeyboardInterrupt


def _after_interrupt(unraisable) -> None:
    """A destructor failed: its object is half made, or it was struck itself and swallows the interrupt."""
    if unraisable.exc_type is KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(_complain(STOPPED, 130))


def _complain(text: str, code: int) -> int:
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    return code
