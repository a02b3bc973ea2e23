"""`benchmarks/accuracy.py`: result files and manifests into a table."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy.py"


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    if not PROGRAM.is_file():
        pytest.skip("benchmarks/ is not part of this copy of the source")
    spec = importlib.util.spec_from_file_location("accuracy", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_json_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    clips = [
        {"audio": "a.flac", "text": "Two colours, Mr. Park", "language": "en"},
        {"audio": "b.flac", "text": "one two three four five six", "language": "en"},
        {"audio": "c.flac", "text": "東京都です", "language": "ja"},
        {"audio": "zz_a.flac", "text": "two colours", "language": "en", "derived": True},
    ]
    write_json_lines(tmp_path / "clips" / "manifest.jsonl", clips)
    write_json_lines(tmp_path / "longform" / "manifest.jsonl", [])
    return tmp_path


@pytest.fixture
def system(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, *records: dict[str, Any]) -> str:
        return f"{name}={write_json_lines(tmp_path / f'{name}.jsonl', [*records])}"

    return write


def clip(audio: str, text: str, **more: object) -> dict[str, Any]:
    return {"audio": audio, "folder": "clips", "text": text, **more}


def test_rows_by_language_and_columns_by_system(
    accuracy: ModuleType, speech: Path, system: Callable[..., str], capsys: pytest.CaptureFixture[str]
):
    left = system(
        "left",
        clip("a.flac", "2 colors mister Bark"),
        clip("b.flac", "nothing alike"),
        clip("c.flac", "東京 府です。"),
        clip("zz_a.flac", "two"),
    )
    right = system("right", clip("a.flac", "two colors, Mister Park"), clip("x.flac", "unknown"))
    accuracy.main([left, right, "--speech", str(speech)])
    assert capsys.readouterr().out.splitlines() == [
        "| recordings | language | measure, % | shared/all | reference units | left | right |",
        "| --- | --- | --- | --: | --: | --: | --: |",
        "| clips | en | WER | 1/2 | 4 | 25.00 | 0.00 |",
        "| clips | ja | CER | 1/1 | 5 | 20.00 | – |",
        "| clips, derived | en | WER | 1/1 | 2 | 50.00 | – |",
        "",
        "- right: 3 not transcribed: b.flac, c.flac, zz_a.flac",
        "- right: 1 not in the manifests: x.flac",
    ]


def test_where_picks_one_of_two_records(
    accuracy: ModuleType, speech: Path, system: Callable[..., str], capsys: pytest.CaptureFixture[str]
):
    both = system(
        "both",
        clip("a.flac", "two colors mister park", cond=True),
        clip("a.flac", "two", cond=False),
        clip("zz_a.flac", "two colors"),
    )
    with pytest.raises(SystemExit, match="twice"):
        accuracy.main([both, "--speech", str(speech)])
    accuracy.main([both, "--speech", str(speech), "--where", "cond=false"])
    out = capsys.readouterr().out
    assert "| clips | en | WER | 1/2 | 4 | 75.00 |" in out
    assert "| clips, derived | en | WER | 1/1 | 2 | 0.00 |" in out


def test_faults_of_the_caller_are_one_line(accuracy: ModuleType, speech: Path, tmp_path: Path):
    with pytest.raises(SystemExit, match="NAME=FILE"):
        accuracy.main(["results.jsonl", "--speech", str(speech)])
    with pytest.raises(SystemExit, match="no manifest"):
        accuracy.main(["a=b", "--speech", str(tmp_path / "nowhere")])
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit, match="line 1"):
        accuracy.main([f"a={broken}", "--speech", str(speech)])
