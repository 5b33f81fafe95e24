"""How a script starts and ends: types of flags; one line for Ctrl-C and what a user can mend."""

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

MENDABLE = "ENOSPC EDQUOT EACCES EPERM EROFS EFBIG ENOTDIR EISDIR EEXIST ENAMETOOLONG".split()
NO_MEMORY = "out of memory; train.py needs less with a smaller --micro-batch, such as 100"
GOES_ON = "stopped; the same command goes on from there"


class UserError(Exception):
    """Something the user can mend. Its text is the one line they see."""


def number(kind: type, words: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a type of flags: it reads an int or float that `fits`, which `words` put in words."""
    def read(text: str) -> float:
        value = kind(text)
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text} is not {words}")
        return value

    read.__name__ = kind.__name__  # what argparse says of a text that is none
    return read


positive = number(float, "a number above 0", lambda value: 0 < value < math.inf)
count = number(int, "a number from 0 up", lambda value: 0 <= value < 2**31)


def user_path(text: str) -> Path:
    """Return a path as a shell has it: `~` is the home folder, also behind a flag's `=`."""
    return Path(os.path.expanduser(text))


def run_main(main: Callable[[], None], stopped: str = "stopped") -> None:
    """Call a script's `main`; on what a user can mend, end with one line and exit code 2, on Ctrl-C
    with the line `stopped` and 130."""
    if hasattr(sys.stdout, "reconfigure"):  # a console may know fewer letters than we print
        sys.stdout.reconfigure(errors="replace")
    os.environ["MPLBACKEND"] = "Agg"  # pictures go into files, whatever the screen
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].use("Agg")
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except BrokenPipeError:  # whoever read what we print, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # as of a program that SIGPIPE ends
    except OSError as error:
        if errno.errorcode.get(error.errno) not in MENDABLE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.exit(_complain(f"cannot read or write: {error.strerror}{place}; "
                           "nothing saved so far is lost", 2))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        sys.exit(_complain(NO_MEMORY, 2))
    except KeyboardInterrupt:
        sys.unraisablehook = lambda _: None  # objects that it left half made fail as they go
        sys.exit(_complain(stopped, 130))


def _is_out_of_memory(error: Exception) -> bool:
    """torch says it by its own errors, of the GPU's memory and of the CPU's, with these words."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in said for words in ("out of memory", "not enough memory", "can't allocate memory"))


def _complain(text: str, code: int) -> int:
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    return code
