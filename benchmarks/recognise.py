"""Recordings of the speech folder into transcripts of one system, for `accuracy.py` and `credibility.py`.

    python benchmarks/recognise.py openai --model base --output out/openai.jsonl
    python benchmarks/recognise.py faster-whisper --model base --output out/fw.jsonl --folders longform \
        --options '{"compute_type": "float32"}'

Systems: `openai`, `faster-whisper`, `faster-whisper-batched` (batches of 8, its voice activity detector on)
and `tympan`, all with the same weights, greedy, and otherwise with the gates and the fallback each has by
default. `--options` holds arguments of the system's own `transcribe` that replace these; `compute_type`
("int8" unless given) belongs to faster-whisper's model, `dtype` ("auto" unless given) to tympan's.

The language is the manifest's; where that names none, or "mul", the system detects it. English-only models
skip recordings in other languages. The peers hear the samples that tympan reads. Records are appended, and a
recording that the file already holds is skipped, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from accuracy import REPOSITORY, read_json_lines
from tympan.adapters.checkpoints.wheels import find_wheel
from tympan.audio.decode import read_waveform

sys.path.insert(
    0, str(REPOSITORY / "tests")
)  # the twin of openai-whisper with our weights lives with the tests

Options = dict[str, Any]
Transcribe = Callable[[Path, str | None], dict[str, Any]]
"""A recording and its language into what a record says of it: `text`, `language`, `segments`, ..."""

FOLDERS = ("clips", "longform", "untranscribed", "formats-subset")
MODELS = ("base", "tiny.en")
SEED = 0


def openai(model_name: str, options: Options, n_threads: int) -> Transcribe:
    """openai-whisper with tympan's weights, float32."""
    import whisper

    import tympan
    from oracles import openai_twin

    torch.set_num_threads(n_threads)
    ours = tympan.load_model(model_name, device="cpu", dtype="float32", offline=True)
    model = openai_twin(whisper, ours.model)

    def transcribe(audio: Path, language: str | None) -> dict[str, Any]:
        torch.manual_seed(SEED)  # the fallback samples
        result = model.transcribe(read_waveform(audio), language=language, fp16=False, **options)
        segments = [[s["start"], s["end"], s["text"]] for s in result["segments"]]
        return {"language": result["language"], "text": result["text"], "segments": segments}

    return transcribe


def faster_whisper(model_name: str, options: Options, n_threads: int, *, batched: bool = False) -> Transcribe:
    """faster-whisper with the weights in the wheels, one window after the other or in batches."""
    import ctranslate2
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    with tempfile.TemporaryDirectory() as folder:
        write_ctranslate2(model_name, Path(folder))
        compute_type = options.pop("compute_type", "int8")
        model = WhisperModel(folder, device="cpu", compute_type=compute_type, cpu_threads=n_threads)
    arguments = {"beam_size": 1, **({"batch_size": 8} if batched else {}), **options}
    recogniser = BatchedInferencePipeline(model) if batched else model

    def transcribe(audio: Path, language: str | None) -> dict[str, Any]:
        ctranslate2.set_random_seed(SEED)  # the fallback samples
        found, info = recogniser.transcribe(read_waveform(audio), language=language, **arguments)
        segments = [[s.start, s.end, s.text] for s in found]
        return {
            "language": info.language,
            "text": "".join(text for _, _, text in segments),
            "segments": segments,
        }

    return transcribe


def faster_whisper_batched(model_name: str, options: Options, n_threads: int) -> Transcribe:
    return faster_whisper(model_name, options, n_threads, batched=True)


def write_ctranslate2(model_name: str, folder: Path) -> None:
    """The checkpoint `model_name` of the installed wheels as a folder CTranslate2 can read."""
    files = find_wheel(model_name).files
    for source in files["config.json"].verified_path().parent.iterdir():
        if not source.name.startswith("model.bin"):
            (folder / source.name).symlink_to(source)
    with (folder / "model.bin").open("wb") as joined:
        for part in files["model.bin"].parts:
            joined.write(part.read_bytes())


def tympan(model_name: str, options: Options, n_threads: int) -> Transcribe:
    """This library, as it stands."""
    import tympan

    torch.set_num_threads(n_threads)
    transcriber = tympan.load_model(model_name, dtype=options.pop("dtype", "auto"), offline=True)

    def transcribe(audio: Path, language: str | None) -> dict[str, Any]:
        result = transcriber.transcribe(audio, language=language, **options).to_dict()
        return {
            "language": result["language"],
            "text": result["text"],
            "segments": [[s["start"], s["end"], s["text"]] for s in result["segments"]],
            **{name: result[name] for name in ("dropped", "recovered") if name in result},
        }

    return transcribe


SYSTEMS: dict[str, Callable[[str, Options, int], Transcribe]] = {
    "openai": openai,
    "faster-whisper": faster_whisper,
    "faster-whisper-batched": faster_whisper_batched,
    "tympan": tympan,
}


def recordings(speech: Path, name: str, *, english_only: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(folder, manifest row) of everything to transcribe; of `formats`, what has a text and no double."""
    folder, is_whole = name.removesuffix("-subset"), not name.endswith("-subset")
    for row in read_json_lines(speech / folder / "manifest.jsonl"):
        if english_only and row["language"] not in ("en", None):
            continue
        if is_whole or (row["text"] and "same_as" not in row):
            yield folder, row


def check_same_run(path: Path, run: dict[str, Any]) -> set[tuple[str, str]]:
    """Folder and name of every recording in `path`, which must come from the same system and settings."""
    done = set()
    for record in read_json_lines(path) if path.exists() else ():
        if any(record[name] != value for name, value in run.items()):
            raise SystemExit(f"{path} holds results of another run than {run}: name another file")
        done.add((record["folder"], record["audio"]))
    return done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=list(SYSTEMS))
    parser.add_argument("--model", default="base", choices=MODELS)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--folders", nargs="+", default=list(FOLDERS[:3]), choices=FOLDERS)
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speech", type=Path, default=REPOSITORY.parent / "shared" / "speech")
    arguments = parser.parse_args()
    if not arguments.speech.is_dir():
        parser.error(f"there is no folder of speech at {arguments.speech}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    run = {"system": arguments.system, "model": arguments.model, "options": arguments.options}
    done = check_same_run(arguments.output, run)
    todo = [
        (folder, row)
        for name in arguments.folders
        for folder, row in recordings(arguments.speech, name, english_only=arguments.model.endswith(".en"))
        if (folder, row["audio"]) not in done
    ]
    transcribe = SYSTEMS[arguments.system](arguments.model, dict(arguments.options), arguments.threads)
    with arguments.output.open("a", encoding="utf-8") as file:
        for folder, row in todo:
            language = None if row["language"] == "mul" else row["language"]
            result = transcribe(arguments.speech / folder / row["audio"], language)
            record = {"audio": row["audio"], "folder": folder, **run, **result}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
