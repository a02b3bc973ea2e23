"""`tympan models`: which models there are, and which of them are on this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from tympan.adapters.checkpoints.names import KNOWN_MODELS
from tympan.apps.cli.console import Console
from tympan.apps.cli.parser import Parser
from tympan.errors import CheckpointError, OptionError

USAGE = """\
tympan models [list] [--json]
       tympan models pull|path|verify|remove NAME"""

DESCRIPTION = """\
List the models that are known and those that are on this machine, and see to them.

  tympan models                    what is known, and what is here
  tympan models pull small         download it, or what is missing of it
  tympan models path small         where it is
  tympan models verify small       whether its files are whole
  tympan models remove small       take it out of the Hub's cache

NAME is a short name such as small, or owner/name of the Hub."""

_ACTIONS = ("list", "pull", "path", "verify", "remove")


def models(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Do what `words` ask for; the exit code is 0, or 1 for what is not here or damaged."""
    given = _parser(prog).parse(words)
    action, names = (given.places[0], given.places[1:]) if given.places else ("list", [])
    if action not in _ACTIONS:
        raise OptionError(f"expected one of {', '.join(_ACTIONS)}, but got {action!r}")
    if len(names) != (action != "list"):
        raise OptionError(
            f"{prog} {action} takes {'no' if action == 'list' else 'one'} name, but got {len(names)}"
        )
    if given.endpoint:
        os.environ["HF_ENDPOINT"] = given.endpoint
    if action == "list":
        return _list(console, as_json=given.json)
    return {"pull": _pull, "path": _path, "verify": _verify, "remove": _remove}[action](
        names[0], given, console
    )


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="ACTION NAME", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="list: print one JSON object")
    parser.add_argument("--revision", metavar="R", help="pull: branch, tag or commit (default: main)")
    parser.add_argument("--token", metavar="TOKEN", help="pull: for a model that is not public")
    parser.add_argument("--endpoint", metavar="URL", help="pull: a mirror of the Hub (default: HF_ENDPOINT)")
    parser.add_argument("--yes", action="store_true", help="remove: without asking")
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _list(console: Console, *, as_json: bool) -> int:
    from tympan.adapters.checkpoints.library import SIZES, find_present, other_cached

    here = {name: find_present(name) for name in KNOWN_MODELS}
    others = list(other_cached())
    if as_json:
        rows = [
            {
                "name": name,
                "hub_id": repo_id,
                "parameters": SIZES[name].n_millions * 1_000_000,
                "mel_bins": SIZES[name].n_mel_bins,
                "languages": SIZES[name].n_languages,
                "origin": found.origin if (found := here[name]) else None,
                "n_bytes": found.n_bytes if found else None,
            }
            for name, repo_id in KNOWN_MODELS.items()
        ]
        more = [{"name": one.name, "origin": one.origin, "n_bytes": one.n_bytes} for one in others]
        console.result(json.dumps({"known": rows, "others": more}, ensure_ascii=False, indent=2) + "\n")
        return 0
    lines = [f"{'name':18} {'parameters':>10}  {'languages':9}  {'on disk':>9}  where"]
    for name in KNOWN_MODELS:
        size, found = SIZES[name], here[name]
        languages = "English" if size.n_languages == 1 else str(size.n_languages)
        on_disk, where = (f"{found.n_bytes / 1e6:.0f} MB", found.origin) if found else ("", "")
        row = f"{name:18} {size.n_millions:>8} M  {languages:9}  {on_disk:>9}  {where}"
        lines.append(row.rstrip())
    lines += [f"{one.name:18} {'':>10}  {'':9}  {one.n_bytes / 1e6:>6.0f} MB  {one.origin}" for one in others]
    console.result("\n".join(lines) + "\n")
    return 0


def _pull(name: str, given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import pull

    files = pull(name, revision=given.revision, token=given.token)
    console.result(f"{files.origin}\n")
    return 0


def _path(name: str, _given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import find_present

    found = find_present(name)
    if found is None:
        console.complain(f"{name} is not on this machine; tympan models pull {name} brings it")
        return 1
    console.result(f"{found.folder}\n")
    return 0


def _verify(name: str, _given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import faults_of

    faults = faults_of(name)
    for fault in faults:
        console.complain(fault)
    if not faults:
        console.result(f"{name} is whole\n")
    return 1 if faults else 0


def _remove(name: str, given: argparse.Namespace, console: Console) -> int:
    from tympan.adapters.checkpoints.library import remove

    if not given.yes:
        if not sys.stdin.isatty():
            raise OptionError("nobody can be asked here: say --yes to remove the model")
        sys.stderr.write(f"Remove {name} from the Hub's cache? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            console.say("nothing was removed")
            return 1
    try:
        n_bytes = remove(name)
    except CheckpointError as fault:
        console.complain(fault)
        return 1
    console.say(f"removed {name}: {n_bytes / 1e6:.0f} MB are free again")
    return 0
