"""`tympan models`: which models there are, and which of them are on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tympan.apps.cli.console import Console
from tympan.apps.cli.model_list import list_models, spelled_size
from tympan.apps.cli.parser import Parser
from tympan.errors import CheckpointError, OptionError

USAGE = """\
tympan models [list] [--json]
       tympan models pull|path|remove NAME
       tympan models verify NAME|--all
       tympan models bundle NAME DIR"""

DESCRIPTION = """\
List the models that are known and those that are on this machine, and see to them.

  tympan models                    what is known, and what is here
  tympan models pull small         download it, or what is missing of it
  tympan models path small         where it is
  tympan models verify small       whether its files are whole
  tympan models bundle small DIR   copy it into a folder, for a machine without a network
  tympan models remove small       take it out of the Hub's cache

NAME is a short name such as small, or owner/name of the Hub. The exit code is 1 for a model that is not here
or is damaged."""

NOT_HERE = 1
DAMAGED = 1


@dataclass(frozen=True)
class Action:
    """What can be done with models: how, what it is told (NAME, DIR), and which options are its own."""

    act: Callable[[argparse.Namespace, Console], int]
    operands: tuple[str, ...] = ("NAME",)
    options: frozenset[str] = frozenset()


def models(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Do what `words` ask for; the exit code is 0, or 1 for what is not here or damaged.

    Raises TympanError for what is not understood, and for a model that cannot be downloaded.
    """
    given = _parser(prog).parse(words)
    name, given.operands = (given.places[0], given.places[1:]) if given.places else ("list", [])
    action = ACTIONS.get(name)
    if action is None:
        raise OptionError(f"expected one of {', '.join(ACTIONS)}, but got {name!r}")
    _check_options(name, action, given)
    expected = () if given.all else action.operands
    if len(given.operands) != len(expected):
        what = " and ".join(expected) or "no name"
        raise OptionError(f"{prog} {name} takes {what}, but got {' '.join(given.operands) or 'nothing'}")
    return action.act(given, console)


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="ACTION NAME", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="list: print one JSON object")
    parser.add_argument(
        "--revision", metavar="R", help="pull, path, bundle: branch, tag or commit (default: main)"
    )
    parser.add_argument(
        "--token", metavar="TOKEN", help="pull: for a model that is not public (default: HF_TOKEN)"
    )
    parser.add_argument("--endpoint", metavar="URL", help="pull: a mirror of the Hub (default: HF_ENDPOINT)")
    parser.add_argument("--offline", action="store_true", help="pull: only look whether all of it is here")
    parser.add_argument("--all", action="store_true", help="verify: every model that is here")
    parser.add_argument("--yes", action="store_true", help="remove: without asking")
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _check_options(name: str, action: Action, given: argparse.Namespace) -> None:
    """Raise OptionError for an option that says nothing to this action."""
    for option in ("json", "revision", "token", "endpoint", "offline", "all", "yes"):
        if getattr(given, option) and option not in action.options:
            owners = ", ".join(other for other, one in ACTIONS.items() if option in one.options)
            raise OptionError(f"--{option} is for {owners}, not for {name}")
    if given.endpoint and not given.endpoint.startswith(("http://", "https://")):
        raise OptionError(f"--endpoint must be an address such as https://example.org, not {given.endpoint}")


def _list(given: argparse.Namespace, console: Console) -> int:
    console.result(list_models(as_json=given.json))
    return 0


def _pull(given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.hub import HubModel
    from tympan.adapters.checkpoints.library import id_to_pull, pull

    repo_id = id_to_pull(given.operands[0])
    model = HubModel(repo_id, given.revision, given.token, endpoint=given.endpoint)
    files = pull(model, offline=given.offline)
    n_bytes = sum(part.stat().st_size for stored in files.files.values() for part in stored.parts)
    console.say(f"{repo_id} is here: {len(files.files)} files, {spelled_size(n_bytes)}")
    console.result(f"{files.origin}\n")
    return 0


def _path(given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import path_of
    from tympan.adapters.checkpoints.resolve import resolve

    (name,) = given.operands
    try:
        files = resolve(name, offline=True, revision=given.revision)
    except CheckpointError:
        console.complain(_where_from(name, given.revision))
        return NOT_HERE
    console.result(f"{path_of(files)}\n")
    return 0


def _verify(given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import faults_of, find_places, other_cached
    from tympan.adapters.checkpoints.sizes import MODELS

    code = 0
    for name in [*MODELS, *other_cached()] if given.all else given.operands:
        places = find_places(name)
        if not places and not given.all:
            console.complain(_where_from(name))
            return NOT_HERE
        for place in places:
            faults = faults_of(place)
            for fault in faults:
                console.complain(f"{name} ({place.kind}): {fault}")
            if faults:
                code = DAMAGED
            else:
                console.result(f"{name} ({place.kind}) is whole: {spelled_size(place.n_bytes)}\n")
    return code


def _bundle(given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import bundle, find_places

    name, folder = given.operands[0], Path(given.operands[1])
    if not find_places(name):
        console.complain(_where_from(name))
        return NOT_HERE
    try:
        n_bytes = bundle(name, folder, revision=given.revision)
    except OSError as fault:
        raise OptionError(f"{folder} cannot be written: {fault.strerror}") from fault
    console.say(f"wrote {folder}: {spelled_size(n_bytes)}; load it by this path")
    return 0


def _remove(given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import remove

    (name,) = given.operands
    if not given.yes and not _agrees(f"Remove {name} from the Hub's cache?"):
        console.say("nothing was removed")
        return 1
    try:
        n_bytes = remove(name)
    except CheckpointError as fault:
        console.complain(fault)
        return NOT_HERE
    console.say(f"removed {name}: {spelled_size(n_bytes)} are free again")
    return 0


def _agrees(question: str) -> bool:
    """Whether whoever sits at the terminal says yes; raises OptionError when nobody does."""
    if not sys.stdin.isatty():
        raise OptionError("nobody can be asked here: say --yes to remove the model")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _where_from(name: str, revision: str | None = None) -> str:
    """That a model is not here, and how to get it, or which name was likely meant."""
    from tympan.adapters.checkpoints.names import hub_id, near_matches

    if hub_id(name) is None:
        near = near_matches(name)
        return f"{name} is not on this machine" + (f"; did you mean {' or '.join(near)}?" if near else "")
    asked = f" --revision {revision}" if revision else ""
    return f"{name} is not on this machine, or not whole; tympan models pull {name}{asked} brings it"


ACTIONS: Mapping[str, Action] = {
    "list": Action(_list, (), frozenset({"json"})),
    "pull": Action(_pull, options=frozenset({"revision", "token", "endpoint", "offline"})),
    "path": Action(_path, options=frozenset({"revision"})),
    "verify": Action(_verify, options=frozenset({"all"})),
    "bundle": Action(_bundle, ("NAME", "DIR"), frozenset({"revision"})),
    "remove": Action(_remove, options=frozenset({"yes"})),
}
"""Every action by its name; without one the models are listed."""
