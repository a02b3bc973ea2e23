"""A file or a folder that is written beside its place and moved there when it is whole.

What a killed program leaves is called `.NAME.tympan-unfinished-…` and may be removed; what a folder was
before it was replaced, if the program is killed in that very moment, `.NAME.tympan-replaced-…`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A path beside `target` to write a file or a folder to, where nothing is yet; it is gone at the end.

    Folders above `target` are made, and are gone again if it was not put in its place.
    """
    new_parents = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = _beside(target, "unfinished")
        staging.mkdir()
        try:
            yield staging / target.name
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        for parent in new_parents:
            with suppress(OSError):
                parent.rmdir()
        raise


def put_in_place(whole: Path, target: Path, is_stale: Callable[[str], bool]) -> None:
    """Move `whole`, a file or a folder, to `target`, which at no time is there in part.

    A folder takes over what is in the one that it replaces, but for the files that it has itself and
    those of stale names.
    """
    if not whole.is_dir() or not target.exists() or not any(target.iterdir()):
        os.replace(whole, target)  # a file, and an empty folder, is replaced as well
        return
    for old in target.iterdir():
        if not (whole / old.name).exists() and not (old.is_file() and is_stale(old.name)):
            _take_over(old, whole / old.name)
    aside = _beside(target, "replaced")
    os.rename(target, aside)
    os.rename(whole, target)
    shutil.rmtree(aside, ignore_errors=True)


def _beside(target: Path, what: str) -> Path:
    return target.parent / f".{target.name}.tympan-{what}-{secrets.token_hex(4)}"


def _take_over(old: Path, new: Path) -> None:
    """Have at `new` what is at `old`, which stays; a file is not copied where it may have two names."""
    if old.is_dir() and not old.is_symlink():
        shutil.copytree(old, new, symlinks=True, copy_function=_link)
    elif old.is_symlink():
        new.symlink_to(os.readlink(old))
    else:
        _link(str(old), str(new))


def _link(old: str, new: str) -> None:
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
