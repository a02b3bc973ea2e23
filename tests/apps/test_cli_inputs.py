"""What may be named on the command line, and what the files for it are called."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePath

import pytest

from tympan.apps.cli.fetch import fetched
from tympan.apps.cli.inputs import Input, Search, find_inputs, types_from
from tympan.apps.cli.naming import Template, check_distinct, number_items
from tympan.errors import AudioError, OptionError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    for name in ("b.mp3", "a.WAV", "notes.txt", ".hidden.mp3", "sub/c.mp4", "sub/deep/a.wav", ".dot/x.mp3"):
        path = tmp_path / "talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(*names: str, **search) -> list[str]:
    return [one.place for one in find_inputs(names, Search(**search))]


def test_a_folder_is_its_media_files_in_order(folder) -> None:
    assert places("talks") == ["talks/a.WAV", "talks/b.mp3"]
    deep = ["talks/a.WAV", "talks/b.mp3", "talks/sub/c.mp4", "talks/sub/deep/a.wav"]
    assert places("talks", recursive=True) == deep
    assert places("talks", recursive=True, types=types_from("mp4, .WAV")) == [deep[0], *deep[2:]]


def test_where_a_file_lies_below_its_folder_is_kept(folder) -> None:
    found = find_inputs(["talks"], Search(recursive=True))
    assert [one.folder for one in found] == [PurePath(p) for p in (".", ".", "sub", "sub/deep")]
    usual = Template("{folder}/{stem}.{format}")
    paths = [str(usual.path(item, "srt", language="en", model="m")) for item in number_items(found)]
    assert paths == ["a.srt", "b.srt", "sub/c.srt", "sub/deep/a.srt"]


def test_a_folder_without_media_is_a_fault_of_its_own(folder) -> None:
    (one,) = find_inputs(["empty"], Search())
    assert "no file of the type sound or video" in one.fault
    assert "--recursive" in one.fault


def test_patterns_that_the_shell_left_alone(folder) -> None:
    assert places("talks/*.mp3") == ["talks/b.mp3"]
    assert places("talks/**/*.wav", recursive=True) == ["talks/sub/deep/a.wav"]
    (one,) = find_inputs(["*.ogg"], Search())
    assert one.fault == "nothing matches this pattern"
    Path("odd[1].mp3").touch()
    assert places("odd[1].mp3") == ["odd[1].mp3"]


def test_lists(folder) -> None:
    Path("list.txt").write_text("\ufeff# talks of today\n talks/b.mp3 \n\n-\ntalks/sub\n", encoding="utf-8")
    assert places("@list.txt") == ["talks/b.mp3", "-", "talks/sub/c.mp4"]
    with pytest.raises(OptionError, match=r"nowhere\.txt"):
        places("@nowhere.txt")


def test_what_is_found_twice_is_taken_once_and_what_is_named_twice_twice(folder) -> None:
    assert places("talks/b.mp3", "talks", "talks/*.mp3") == ["talks/b.mp3", "talks/a.WAV"]
    assert places("talks/b.mp3", "talks/b.mp3") == ["talks/b.mp3", "talks/b.mp3"]


def test_addresses_need_to_be_allowed() -> None:
    with pytest.raises(OptionError, match="--urls"):
        places("https://example.org/a.mp3")
    (one,) = find_inputs(["https://example.org/my%20talk.mp3?x=1"], Search(urls=True))
    assert (one.name, one.is_file) == ("my talk.mp3", False)


@pytest.mark.parametrize(
    ("template", "path"),
    [("{number}-{stem}.{language}.{format}", "1-a.de.srt"), ("{model}/{name}.{format}", "base/a.mp3.srt")],
)
def test_templates(template: str, path: str) -> None:
    (item,) = number_items([Input("x/a.mp3")])
    assert str(Template(template).path(item, "srt", language="de", model="org/base")) == path


@pytest.mark.parametrize(
    ("template", "message"),
    [("{stem}", "needs {format}"), ("{stam}.{format}", "no {stam}"), ("{stem.{format}", "cannot be read")],
)
def test_templates_that_cannot_be(template: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Template(template)


def test_a_template_that_leads_elsewhere_or_gives_two_one_file() -> None:
    items = number_items([Input("a.mp3"), Input("b.mp3")])
    with pytest.raises(OptionError, match="out of the output folder"):
        Template("../{stem}.{format}").path(items[0], "txt", language="en", model="m")
    with pytest.raises(OptionError, match="same file"):
        check_distinct(items, Template("all.{format}"), ["txt"])
    check_distinct(items, Template("{number}.{format}"), ["txt", "srt"])


class Web(BaseHTTPRequestHandler):
    """Gives a recording of six bytes, a broken connection, and a way that leads out of the web."""

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"sou" if self.path == "/broken" else b"sounds")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_recording_is_fetched_and_not_kept(web) -> None:
    with fetched(f"{web}/talk.mp3") as path:
        assert path.read_bytes() == b"sounds"
    assert not path.exists()


@pytest.mark.parametrize("place", ["none", "broken", "away"])
def test_what_cannot_be_fetched_says_so(web, place: str) -> None:
    with pytest.raises(AudioError, match="cannot be fetched"), fetched(f"{web}/{place}"):
        pass


def test_files_of_folders_keep_their_places(tympan, folder) -> None:
    ended = tympan("talks", "empty", "--recursive", "-o", "texts", "-f", "txt")
    assert ended.code == 1
    assert "1 of 5 files failed" in ended.err
    written = [str(Path(place, name)) for place, _, names in os.walk("texts") for name in names]
    assert "--resume" in ended.err  # what was done is remembered, since not all was
    written = [path for path in written if not path.startswith("texts/.tympan/")]
    assert sorted(written) == ["texts/a.txt", "texts/b.txt", "texts/sub/c.txt", "texts/sub/deep/a.txt"]


def test_a_pipe_with_a_name_is_read_once(tympan, fake, folder) -> None:
    os.mkfifo("pipe")
    assert not Input("pipe").is_file
    assert Input("talks/b.mp3").is_file
    ended = tympan(
        "pipe", "talks/b.mp3", "-o", "texts", "-f", "txt", "--progress", "json"
    )  # nobody writes to it
    assert ended.code == 0
    assert fake.heard == ["pipe", "talks/b.mp3"]
