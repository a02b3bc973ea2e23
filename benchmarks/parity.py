"""Is our text openai-whisper's text, character for character, and are our times its times?

    python benchmarks/parity.py --output-dir out/parity [--models tiny.en base] [--searches greedy beam5]

Transcribes every clip and long recording of the speech folder with both, float32, temperature 0, each long
recording with and without previous text as prompt, and lists every difference. Results are kept as JSON lines
(`MODEL.SEARCH.SYSTEM.jsonl`), so that an interrupted run goes on where it stopped and `accuracy.py` can score
them. Both systems hear the same samples, read by tympan. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the twin of openai-whisper with our weights lives with the tests

Job = tuple[str, dict[str, Any], bool]
Transcribe = Callable[[Any, dict[str, Any]], dict[str, Any]]

SEARCHES: dict[str, int | None] = {"greedy": None, "beam5": 5}
TIME_TOLERANCE_S = 0.02


def jobs(speech: Path, *, english_only: bool) -> Iterator[Job]:
    """(folder, manifest row, condition_on_previous_text) of everything to transcribe."""
    for folder, conditions in (("longform", (True, False)), ("clips", (True,))):
        lines = (speech / folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        for row in map(json.loads, lines):
            if english_only and row["language"] != "en":
                continue
            for condition in conditions:
                yield folder, row, condition


def systems(model_name: str) -> dict[str, Transcribe]:
    """Both implementations with the same weights, as functions of (samples, options)."""
    import whisper

    import tympan
    from oracles import openai_twin
    from tympan.transcription.options import AS_IN_THE_REFERENCE

    ours = tympan.load_model(model_name, device="cpu", dtype="float32", offline=True)
    theirs = openai_twin(whisper, ours.model)
    return {
        "openai": lambda samples, options: theirs.transcribe(samples, fp16=False, **options),
        "tympan": lambda samples, options: ours.transcribe(
            samples, **options, **AS_IN_THE_REFERENCE
        ).to_dict(),
    }


def run(path: Path, transcribe: Transcribe, todo: list[Job], beam_size: int | None, speech: Path) -> None:
    """Append a record to `path` for every job that has none yet."""
    from tympan.audio.decode import read_waveform

    done = {key(record) for record in read(path)}
    with path.open("a", encoding="utf-8") as file:
        for folder, row, condition in todo:
            if (row["audio"], condition) in done:
                continue
            options = {
                "temperature": 0.0,
                "beam_size": beam_size,
                "condition_on_previous_text": condition,
                "language": None if row["language"] == "mul" else row["language"],
            }
            samples = read_waveform(speech / folder / row["audio"])
            start = time.perf_counter()
            result = transcribe(samples, options)
            record = {
                "audio": row["audio"],
                "folder": folder,
                "cond": condition,
                "seconds": round(time.perf_counter() - start, 3),
                "language": result["language"],
                "text": result["text"],
                "segments": [[s["start"], s["end"], s["text"]] for s in result["segments"]],
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a results file; none when there is no file yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def key(record: dict[str, Any]) -> tuple[str, bool]:
    """What a record is about."""
    return record["audio"], record["cond"]


def differences(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each recording whose text or segment times differ."""
    expected = {key(record): record for record in theirs}
    for record in ours:
        reference = expected[key(record)]
        name = f"{record['audio']} (previous text {'on' if record['cond'] else 'off'})"
        if record["text"] != reference["text"]:
            yield f"{name}: text\n  openai: {reference['text']}\n  tympan: {record['text']}"
        elif not same_times(record["segments"], reference["segments"]):
            yield f"{name}: segments\n  openai: {reference['segments']}\n  tympan: {record['segments']}"


def same_times(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether segments have equal texts, and times no further apart than the tolerance."""
    return len(ours) == len(theirs) and all(
        mine[2] == other[2] and all(abs(mine[i] - other[i]) <= TIME_TOLERANCE_S + 1e-6 for i in (0, 1))
        for mine, other in zip(ours, theirs, strict=True)
    )


def compare(model_name: str, search: str, output_dir: Path, speech: Path) -> int:
    """Run both systems where needed, print what differs, and return how many recordings do."""
    todo = list(jobs(speech, english_only=model_name.endswith(".en")))
    results = {}
    for system, transcribe in systems(model_name).items():
        path = output_dir / f"{model_name}.{search}.{system}.jsonl"
        run(path, transcribe, todo, SEARCHES[search], speech)
        results[system] = read(path)
    found = list(differences(results["openai"], results["tympan"]))
    for line in found:
        print(f"DIFFERS {model_name} {search} {line}")
    print(f"{model_name} {search}: {len(results['tympan'])} transcripts, {len(found)} differ")
    return len(found)


def main() -> int:
    """Compare everything asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speech", type=Path, default=ROOT.parent / "shared" / "speech")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "out" / "parity")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    arguments = parser.parse_args()
    if not arguments.speech.is_dir():
        parser.error(f"there is no folder of speech at {arguments.speech}")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    n_different = sum(
        compare(model, search, arguments.output_dir, arguments.speech)
        for model in arguments.models
        for search in arguments.searches
    )
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
