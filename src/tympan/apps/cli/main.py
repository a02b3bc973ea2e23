"""Which command is meant, and which exit code tells how it went.

    0    everything was done
    1    some files failed, each named on stderr; or stdout took no more text (a full disk)
    2    the user's fault: an option, the model, no files; one line on stderr
    130  interrupted by Ctrl-C
    141  whoever read stdout went away
    143  stopped by the system (SIGTERM)

A bug shows its traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from tympan.apps.cli.commands import COMMANDS
from tympan.apps.cli.console import Console, Interrupted, ReaderGone, StdoutLost, write_utf8_to_stdout
from tympan.apps.cli.library import LoadModel
from tympan.errors import TympanError

SOME_FAILED = 1
USER_FAULT = 2
INTERRUPTED = 130
READER_GONE = 141
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """The system asked the program to end (SIGTERM)."""


def main(argv: Sequence[str] | None = None, *, load_model: LoadModel | None = None) -> int:
    """Run the program on `argv` (the command line when None) and return its exit code.

    `load_model` stands in for `tympan.load_model`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console()
    write_utf8_to_stdout()
    try:
        code = _dispatch(words, console, load_model)
        console.result("")  # a reader that went away is noticed here, not when Python ends
        return code
    except TympanError as error:
        console.complain(error)
        return USER_FAULT
    except Interrupted as stop:
        console.complain(stop)
        return TERMINATED if isinstance(stop.__cause__, Terminated) else INTERRUPTED
    except KeyboardInterrupt as stop:
        console.complain("interrupted")
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    except ReaderGone:
        return READER_GONE
    except StdoutLost as error:
        console.complain(error)
        return SOME_FAILED


def run() -> NoReturn:
    """The program `tympan`: run it and leave Python with its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    code = main()
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()
    sys.exit(code)


def _dispatch(words: list[str], console: Console, load_model: LoadModel | None) -> int:
    if words and words[0] in COMMANDS:
        name, rest, prog = words[0], words[1:], f"tympan {words[0]}"
    else:
        name, rest, prog = "transcribe", words, "tympan"
    try:
        return COMMANDS[name].act(rest, console, prog, load_model)
    except SystemExit as end:  # argparse has printed the help or the version
        return int(end.code or 0)


def _terminate(_number: int, _frame: object) -> NoReturn:
    raise Terminated


def _discard_stdout() -> None:
    """Let what is left in the buffer of stdout go nowhere, so that Python ends without another complaint."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
