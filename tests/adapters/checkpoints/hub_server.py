"""The Hub, played by a small server on this machine."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/whisper-mini"
SHORT_NAME_REPO = "openai/whisper-small"


class Hub:
    """What the server serves (repository -> folder), and what it was asked for."""

    def __init__(self):
        self.folders = {}
        self.requests = []
        self.tokens = set()
        self.needs_token = None
        self.cut_after = {}
        """Name of a file -> how many of its bytes come before the connection breaks, once."""

    def answer(self, method, path, headers):
        """(status, headers, content) for one request."""
        self.requests.append((method, path))
        self.tokens.add(headers.get("Authorization"))
        repo, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repo not in self.folders:
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if self.needs_token and headers.get("Authorization") != f"Bearer {self.needs_token}":
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        file = self.folders[repo] / name
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = file.read_bytes()
        etag = f'"{hashlib.sha1(f"blob {len(content)}".encode() + bytes(1) + content).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": COMMIT}, content

    def fetched(self):
        """Names of the files whose content went over the wire."""
        return {path.rsplit("/", 1)[1] for method, path in self.requests if method == "GET"}


@pytest.fixture
def hub(empty_cache, monkeypatch, hf_folder):
    """A running server that holds the twin under two ids; HF_ENDPOINT points to it."""
    state = Hub()
    state.folders = {REPO: hf_folder, SHORT_NAME_REPO: hf_folder}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.reply("HEAD")

        def do_GET(self):
            self.reply("GET")

        def reply(self, method):
            status, headers, content = state.answer(method, self.path, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if method == "GET":
                self.wfile.write(content[: state.cut_after.pop(self.path.rsplit("/", 1)[1], None)])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
