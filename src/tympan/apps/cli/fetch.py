"""A recording on the web -> a file on this machine, for as long as it is needed."""

from __future__ import annotations

import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tympan.apps.cli.inputs import is_address
from tympan.errors import AudioError
from tympan.version import __version__

_PATIENCE_S = 30.0
_BLOCK_BYTES = 1 << 20


@contextmanager
def fetched(address: str) -> Iterator[Path]:
    """The file at `address`, gone on leaving; raises AudioError when it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="tympan-") as folder:
        path = Path(folder, "recording")
        try:
            _download(address, path)
        except (urllib.error.URLError, HTTPException, TimeoutError, ValueError) as error:
            raise AudioError(f"{address} cannot be fetched: {_reason(error)}") from error
        yield path


def _download(address: str, path: Path) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": f"tympan/{__version__}"})
    opener = urllib.request.build_opener(_WebOnly)
    with opener.open(request, timeout=_PATIENCE_S) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file, _BLOCK_BYTES)
        promised = answer.headers.get("Content-Length")
        if promised is not None and promised.isdigit() and file.tell() != int(promised):
            raise HTTPException(f"the connection broke after {file.tell()} of {promised} bytes")


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows an address to another one on the web, and to nowhere else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0917
        """The next request; raises ValueError for one that leaves the web."""
        if not is_address(newurl):
            raise ValueError(f"it leads to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
