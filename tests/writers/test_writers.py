"""Writers: byte for byte openai-whisper's files, and files that appear whole or not at all."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tympan.errors import InputError, OptionError
from tympan.results import Segment, Transcript, Word
from tympan.writers import FORMATS, OPENAI_FORMATS, STREAMED, render, write

LIKE_OPENAI = ("txt", "srt", "vtt", "tsv")


def segment(number: int, start: float, end: float, text: str) -> Segment:
    return Segment(number, start, end, text, (50364, 11, 50464), 0.0, -0.25, 1.2, 0.01)


def transcript(*spoken: tuple[float, float, str]) -> Transcript:
    segments = tuple(segment(i, *one) for i, one in enumerate(spoken))
    text = "".join(one.text for one in segments)
    return Transcript(text, segments, "en", 0.98, 12.5, {"beam_size": 5, "language": None})


ODD = {
    "no segments": transcript(),
    "plain": transcript((0.0, 4.44, " Hello there."), (4.44, 7.0, " And more.")),
    "arrow in the text": transcript((0.0, 1.0, " a --> b ----> c"), (1.0, 2.0, "-->")),
    "empty texts": transcript((0.0, 0.0, ""), (0.0, 1.5, "   "), (1.5, 2.0, "\n")),
    "hours": transcript((3599.9994, 3599.9996, " edge"), (3600.0, 363_661.007, " long")),
    "tabs and line breaks": transcript((0.1, 0.2, "\ta\tb\n\nc\r\nd\re\t"), (0.2, 0.3, " x\v\f\x1c\x85y ")),
    "every script": transcript(
        (0.0, 1.0, " naïve 你好 😀 e\u0301"), (1.0, 2.0, " \ufffd\u2028\u00a0z\u3000")
    ),
    "right to left": transcript((0.0, 1.0, " שלום עולם"), (1.0, 2.0, "\u200fمرحبا --> \u200e123")),
    "leading spaces": transcript((0.0, 1.0, "     wide   inside  "), (1.0, 2.0, "no space")),
    "times between milliseconds": transcript(
        (0.0005, 0.0015, "a"), (1.0025, 2.0035, "b"), (29.98, 30.00, "c")
    ),
    "not in order": transcript((5.0, 3.0, "back"), (1.0, 1.0, "instant")),
}


def openai_file(spoken: Transcript, format: str, folder: Path) -> bytes:
    from whisper.utils import get_writer

    result = {"segments": [{"start": s.start, "end": s.end, "text": s.text} for s in spoken.segments]}
    get_writer(format, str(folder))(result, "talk.mp3")
    return (folder / f"talk.{format}").read_bytes()


@pytest.mark.parametrize("format", LIKE_OPENAI)
@pytest.mark.parametrize("name", ODD)
def test_files_equal_those_of_openai_whisper(name: str, format: str, tmp_path: Path) -> None:
    ours = write(ODD[name], tmp_path / f"ours.{format}").read_bytes()
    assert ours == openai_file(ODD[name], format, tmp_path)
    assert ours == render(ODD[name], format).encode()


@pytest.mark.parametrize("format", STREAMED)
@pytest.mark.parametrize("name", ODD)
def test_pieces_join_to_the_whole(name: str, format: str) -> None:
    assert "".join(STREAMED[format](iter(ODD[name].segments))) == render(ODD[name], format)


@pytest.mark.parametrize("format", STREAMED)
def test_a_piece_is_ready_before_the_next_segment_is_asked_for(format: str) -> None:
    seen: list[int] = []

    def segments():
        for one in ODD["plain"].segments:
            seen.append(one.id)
            yield one

    pieces = STREAMED[format](segments())
    while "Hello" not in next(pieces):
        pass
    assert seen == [0]


@pytest.mark.parametrize("name", ODD)
def test_json_gives_back_the_whole_transcript(name: str) -> None:
    content = render(ODD[name], "json")
    expected = json.loads(json.dumps(ODD[name].to_dict()))
    assert json.loads(content) == expected
    assert content.endswith("}\n")


def test_json_holds_words_and_is_readable() -> None:
    word = Word(0.1, 0.5, " 你好", 0.9)
    spoken = Transcript(" 你好", (replace(segment(0, 0.0, 1.0, " 你好"), words=(word,)),), "zh", 1.0, 1.0)
    content = render(spoken, "json")
    assert '  "text": " 你好"' in content
    written = json.loads(content)["segments"][0]["words"]
    assert written == [{"start": 0.1, "end": 0.5, "text": " 你好", "probability": 0.9}]


def test_json_writes_null_for_numbers_that_json_does_not_have() -> None:
    odd = replace(segment(0, 0.0, 1.0, "a"), avg_logprob=-math.inf, compression_ratio=math.nan)
    spoken = Transcript("a", (odd,), "en", math.nan, math.inf, {"gates": (math.inf, 1.0)})

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} in JSON")

    record = json.loads(render(spoken, "json"), parse_constant=refuse)
    assert record["segments"][0]["avg_logprob"] is None
    assert record["segments"][0]["compression_ratio"] is None
    assert record["language_probability"] is None
    assert record["duration"] is None
    assert record["options"]["gates"] == [None, 1.0]


def test_json_takes_numbers_of_numpy() -> None:
    odd = replace(segment(0, 0.0, 1.0, "a"), avg_logprob=np.float32(-0.5), tokens=(np.int64(7),))
    record = json.loads(render(Transcript("a", (odd,), "en", 1.0, 1.0), "json"))
    assert record["segments"][0]["avg_logprob"] == -0.5
    assert record["segments"][0]["tokens"] == [7]


def test_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'docx'.*txt, srt, vtt, tsv, .*json"):
        render(ODD["plain"], "docx")
    with pytest.raises(OptionError, match=r"talk\.docx.*txt, srt, vtt, tsv, .*json"):
        write(ODD["plain"], tmp_path / "talk.docx")
    with pytest.raises(OptionError, match="suffix of 'talk'"):
        write(ODD["plain"], tmp_path / "talk")
    assert list(tmp_path.iterdir()) == []


def test_format_comes_from_the_suffix_in_any_case_unless_named(tmp_path: Path) -> None:
    assert write(ODD["plain"], tmp_path / "a.SRT").read_text() == render(ODD["plain"], "srt")
    assert write(ODD["plain"], tmp_path / "b.srt", format="txt").read_text() == render(ODD["plain"], "txt")
    returned = write(ODD["plain"], str(tmp_path / "c"), format="json")
    assert returned == tmp_path / "c"
    assert returned.read_text() == render(ODD["plain"], "json")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        write(ODD["plain"], tmp_path / "nowhere" / "a.txt")
    (tmp_path / "d.txt").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write(ODD["plain"], tmp_path / "d.txt")


def test_file_stays_as_it_was_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write(ODD["plain"], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and links of POSIX")
def test_replaced_file_keeps_its_permissions_and_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write(ODD["plain"], link)
    assert link.is_symlink()
    assert real.read_text() == render(ODD["plain"], "txt")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device to write to")
def test_a_device_is_written_to_and_not_replaced() -> None:
    write(ODD["plain"], "/dev/null", format="txt")
    assert not Path("/dev/null").is_file()


def test_lone_surrogates_do_not_lose_the_transcript(tmp_path: Path) -> None:
    assert write(transcript((0.0, 1.0, "a\udc80b")), tmp_path / "a.txt").read_text() == "a?b\n"


def test_formats_are_listed_once() -> None:
    assert set(OPENAI_FORMATS) <= set(FORMATS)
    assert set(STREAMED) <= set(FORMATS)


def test_importing_the_writers_loads_no_torch() -> None:
    code = "import sys, tympan.writers; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
