"""The Hub, played by a small server on this machine, with the troubles that a connection may have."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/whisper-mini"
SHORT_NAME_REPO = "openai/whisper-small"
N_PIECES = 20
SLOW_BYTES = 50_000


class Hub:
    """What the server serves (repository -> folder), what it was asked for, and what goes wrong.

    `cut_after` breaks the connection once, behind so many bytes of a file; `always_cut_after` every time.
    `instead` are bytes that come instead of a file's own; `statuses` answers given once before a file comes.
    Files in `elsewhere` lie on another host, as large ones do on the real Hub. `pause_s` comes before each
    twentieth of a large file. Where `knows_spans` is off, a file always comes whole.
    """

    def __init__(self):
        self.folders = {}
        self.requests = []
        self.tokens = set()
        self.tokens_elsewhere = set()
        self.spans = []
        self.needs_token = None
        self.cut_after = {}
        self.always_cut_after = {}
        self.instead = {}
        self.statuses = {}
        self.elsewhere = set()
        self.pause_s = 0.0
        self.knows_spans = True
        self.port = 0

    def answer(self, method, path, headers):
        """(status, headers, content) for one request."""
        self.requests.append((method, path))
        if path.startswith("/elsewhere/"):
            return self._answer_elsewhere(path, headers)
        self.tokens.add(headers.get("Authorization"))
        repo, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        refusal = self._refusal(repo, revision, name, headers)
        if refusal is not None:
            return (*refusal, b"")
        content = (self.folders[repo] / name).read_bytes()
        if name in self.elsewhere:
            facts = {
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"http://localhost:{self.port}/elsewhere/{repo}/{name}?signature=x",
            }
            return 302, {**facts, "X-Repo-Commit": COMMIT}, b""
        etag = f'"{hashlib.sha1(f"blob {len(content)}".encode() + bytes(1) + content).hexdigest()}"'
        status, span, content = self._span(name, content, method, headers)
        return status, {"ETag": etag, "X-Repo-Commit": COMMIT, **span}, content

    def _refusal(self, repo, revision, name, headers):
        """(status, headers) where the file is not to be had, or None."""
        if repo not in self.folders:
            return 401, {"X-Error-Code": "RepoNotFound"}
        if self.needs_token and headers.get("Authorization") != f"Bearer {self.needs_token}":
            return 403, {"X-Error-Code": "GatedRepo"}
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}
        if not (self.folders[repo] / name).is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
        if self.statuses.get(name):
            return self.statuses[name].pop(0), {}
        return None

    def _answer_elsewhere(self, path, headers):
        self.tokens_elsewhere.add(headers.get("Authorization"))
        repo, _, name = path.removeprefix("/elsewhere/").partition("?")[0].rpartition("/")
        return self._span(name, (self.folders[repo] / name).read_bytes(), "GET", headers)

    def _span(self, name, content, method, headers):
        """What is asked for of a file, of the true one or of the one that comes instead."""
        if method == "HEAD":
            return 200, {}, content
        content = self.instead.get(name, content)
        asked = headers.get("Range", "")
        self.spans.append((name, asked))
        if not (asked and self.knows_spans):
            return 200, {}, content
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return 206, span, content[start:]

    def fetched(self):
        """Names of the files whose content went over the wire."""
        return {path.rsplit("/", 1)[1].partition("?")[0] for method, path in self.requests if method == "GET"}

    def cut(self, path):
        """How many bytes come before the connection breaks; None: all."""
        name = path.rsplit("/", 1)[1].partition("?")[0]
        return self.cut_after.pop(name, self.always_cut_after.get(name))


def forget_the_hub(monkeypatch, folder):
    """Make the environment say nothing of the Hub but that its cache is below the new `folder`."""
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_ENDPOINT",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "others"))
    return folder / "hub"


@contextmanager
def serve(folders, monkeypatch):
    """A running server for `folders`, by the ids of their repositories; HF_ENDPOINT points to it."""
    hub = Hub()
    hub.folders = folders

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.reply("HEAD")

        def do_GET(self):
            self.reply("GET")

        def reply(self, method):
            status, headers, content = hub.answer(method, self.path, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if method == "GET" and content:
                self.send(content[: hub.cut(self.path)])

        def send(self, content):
            is_slow = hub.pause_s and len(content) > SLOW_BYTES
            step = -(-len(content) // N_PIECES) if is_slow else len(content)
            for start in range(0, len(content), step):
                if is_slow:
                    time.sleep(hub.pause_s)
                try:
                    self.wfile.write(content[start : start + step])
                except OSError:  # whoever asked is gone
                    return

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.port}/")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
