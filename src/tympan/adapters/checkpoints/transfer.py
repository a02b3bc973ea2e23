"""A file of the Hub -> its blob in the cache: resumed where the connection was cut, checked before it counts.

`huggingface_hub` 1.33 takes away what it has of a file when it gives up or is stopped (its issue 4196), and
checks no more than the size. Here the part stays beside the blob as `<blob>.incomplete`, where
`huggingface_hub` itself once left it, the next try goes on behind it, and a blob gets its name only when its
content has the hash that the name says. The lock is the one that `huggingface_hub` takes for this blob, so
that of several processes one downloads and the others wait.

Files are fetched over plain HTTP, also where the Hub offers its chunked storage (Xet): every mirror has it,
and it can be resumed.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urljoin, urlsplit

from tympan.adapters.checkpoints.blobs import content_hash, is_content_hash
from tympan.errors import CheckpointError

_BLOCK_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_PATIENCE_S = 30.0
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before each new try; with every block that comes they start again
_PASSING_TROUBLES = (408, 429, 500, 502, 503, 504)
_PLAIN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class Cut(Exception):  # noqa: N818
    """The connection broke, or the server has trouble that passes; `n_bytes` of the file are here."""

    def __init__(self, reason: str, n_bytes: int = 0) -> None:
        super().__init__(reason)
        self.n_bytes = n_bytes


@dataclass(frozen=True)
class RemoteFile:
    """What the Hub says of one file: the commit it is of, its blob's name, its size, where its content is.

    `headers` are those to ask for the content with; the token is among them only if it stays with the Hub.
    """

    name: str
    commit: str
    blob_name: str
    n_bytes: int | None
    address: str
    headers: Mapping[str, str]


def fetch_blob(url: str, repository: Path, *, token: str | None) -> Path:
    """The blob of the file at `url`, whole, in the cache's folder `repository`.

    Nothing is fetched that is there. A cut connection is tried again with longer and longer pauses; after six
    tries on which nothing came, or when the content is not what the Hub said it was, a CheckpointError says
    so. What `huggingface_hub` raises is passed on: no such file, no such repository, no entry.
    """
    name = url.rpartition("/")[2]
    pauses, most = iter(_PAUSES_S), 0
    while True:
        try:
            return _try_once(url, name, repository, token)
        except Cut as cut:
            if cut.n_bytes >= most + _BLOCK_BYTES:
                pauses, most = iter(_PAUSES_S), cut.n_bytes
            pause_s = next(pauses, None)
            if pause_s is None:
                kept = f"; the next try goes on from {cut.n_bytes / 1e6:.1f} MB" if cut.n_bytes else ""
                raise CheckpointError(
                    f"{name}: given up after {len(_PAUSES_S) + 1} tries: {cut}{kept}"
                ) from cut
        sleep(pause_s)


def _try_once(url: str, name: str, repository: Path, token: str | None) -> Path:
    remote = _ask(url, name, token)
    blob = repository / "blobs" / remote.blob_name
    if blob.exists() or (repository / "snapshots" / remote.commit / name).exists():
        return blob
    lock = repository.parent / ".locks" / repository.name / f"{blob.name}.lock"
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    asked_s = monotonic()
    with utilities().WeakFileLock(lock):
        if not blob.exists():
            if monotonic() - asked_s > _PATIENCE_S:  # addresses hold for a while only
                remote = _ask(url, name, token)
            part = blob.with_name(f"{blob.name}.incomplete")
            was_begun = part.exists()
            _complete(part, remote)
            _check(part, remote, was_begun=was_begun)
            part.replace(blob)
    return blob


def _ask(url: str, name: str, token: str | None) -> RemoteFile:
    from huggingface_hub import get_hf_file_metadata

    with _troubles_of_the_network():
        told = get_hf_file_metadata(url, token=token, library_name="tympan")
    if told.commit_hash is None or told.etag is None or not _PLAIN_NAME.fullmatch(told.etag):
        raise CheckpointError(f"{url} does not answer as the Hub does: it names no commit, or no file")
    address = urljoin(url, told.location)
    headers = {
        str(key).lower(): str(value) for key, value in utilities().build_hf_headers(token=token).items()
    }
    if urlsplit(address).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    return RemoteFile(
        name, told.commit_hash, told.etag, told.size, address, {**headers, "accept-encoding": "identity"}
    )


def _complete(part: Path, remote: RemoteFile) -> None:
    """Bring the file `part` to its end; raises Cut when it cannot be, and CheckpointError on a full disk."""
    n_here = part.stat().st_size if part.exists() else 0
    if remote.n_bytes is None or n_here > remote.n_bytes:
        n_here = 0
    if n_here and n_here == remote.n_bytes:
        return
    _check_room(part, remote.name, (remote.n_bytes or 0) - n_here)
    span = {"range": f"bytes={n_here}-"} if n_here else {}
    with part.open("ab") as file:
        try:
            with _answer(remote.address, {**remote.headers, **span}) as (is_span, pieces):
                file.truncate(n_here if is_span else 0)
                _write(pieces, file, remote)
        except Cut as cut:
            file.flush()
            raise Cut(str(cut), part.stat().st_size) from cut
    if remote.n_bytes is not None and part.stat().st_size < remote.n_bytes:
        raise Cut("the connection ended before the file did", part.stat().st_size)


def _write(pieces: Iterator[bytes], file: Any, remote: RemoteFile) -> None:  # noqa: ANN401
    """Append `pieces`, with a bar on a terminal; what comes beyond the size that was told ends it."""
    n_here = file.seek(0, 2)
    with utilities().tqdm(
        total=remote.n_bytes, initial=n_here, unit="B", unit_scale=True, desc=remote.name,
        leave=False, dynamic_ncols=True, disable=None,
    ) as bar:  # fmt: skip
        for piece in pieces:
            file.write(piece)
            bar.update(len(piece))
            n_here += len(piece)
            if remote.n_bytes is not None and n_here > remote.n_bytes:
                return


def _check(part: Path, remote: RemoteFile, *, was_begun: bool) -> None:
    """Raise when the file is not the one that was told of; then nothing of it stays.

    The fault may lie in what was there before: then it is a Cut, so that it is fetched from its beginning.
    """
    n_bytes = part.stat().st_size
    fault = ""
    if remote.n_bytes is not None and n_bytes != remote.n_bytes:
        fault = f"it has more than the {remote.n_bytes} bytes announced"
    elif is_content_hash(remote.blob_name):
        found = content_hash(part, remote.blob_name)
        fault = f"its hash is {found}, not {remote.blob_name}" if found != remote.blob_name else ""
    if not fault:
        return
    part.unlink()
    message = f"{remote.name} came damaged: {fault}"
    raise Cut(message) if was_begun else CheckpointError(f"{message}; nothing of it was kept")


def _check_room(part: Path, name: str, n_bytes: int) -> None:
    n_free = shutil.disk_usage(part.parent).free
    if n_bytes > n_free:
        needed, free = f"{n_bytes / 1e6:.0f} MB", f"{n_free / 1e6:.0f} MB"
        raise CheckpointError(f"{name} needs {needed} more, but {part.parent} has room for {free}")


@contextmanager
def _answer(address: str, headers: Mapping[str, str]) -> Iterator[tuple[bool, Iterator[bytes]]]:
    """Whether the answer is the span asked for and not the whole file, and its content in pieces."""
    with ExitStack() as opened:
        with _troubles_of_the_network():
            response = opened.enter_context(_request(address, headers))
            utilities().hf_raise_for_status(response)
        yield response.status_code == 206, _pieces(response)


def _request(address: str, headers: Mapping[str, str]) -> Any:  # noqa: ANN401
    """The library's HTTP client is httpx from its version 1 on, and requests before."""
    session = utilities().get_session()
    if callable(session.stream):
        return session.stream("GET", address, headers=headers, timeout=_PATIENCE_S, follow_redirects=True)
    return session.get(address, headers=headers, timeout=_PATIENCE_S, stream=True)


def _pieces(response: Any) -> Iterator[bytes]:  # noqa: ANN401
    with _troubles_of_the_network():
        if hasattr(response, "iter_bytes"):
            yield from response.iter_bytes()  # as they come: nothing is lost of what came before a cut
        else:
            yield from response.iter_content(_PIECE_BYTES)


@contextmanager
def _troubles_of_the_network() -> Iterator[None]:
    """Turn what may pass into a Cut; refusals of the server, and what is wrong with the request, stay.

    The HTTP clients differ between versions, and so do their exceptions.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as fault:
        if getattr(fault.response, "status_code", None) in _PASSING_TROUBLES:
            raise Cut(_first_line(fault)) from fault
        raise
    except (OfflineModeIsEnabled, ValueError):
        raise
    except Exception as fault:
        raise Cut(_first_line(fault)) from fault


def utilities() -> Any:  # noqa: ANN401
    """`huggingface_hub.utils`, whose names are exported, but not so that a type checker sees it."""
    return importlib.import_module("huggingface_hub.utils")


def _first_line(fault: BaseException) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]
