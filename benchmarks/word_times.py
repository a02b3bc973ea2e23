"""How far from the truth are the starts and ends of words: ours, openai-whisper's, faster-whisper's.

    python benchmarks/word_times.py --output-dir out/word_times [--models tiny.en base]

Transcribes every recording of the speech folder whose times are known, with the same weights in all systems:
float32, greedy, temperature 0. Results are kept as JSON lines (`MODEL.SYSTEM.jsonl`), so that an interrupted
run goes on where it stopped; to measure changed code again, delete its file. All hear the same samples, read
by tympan.

Known are the times of every word (a forced alignment that its makers test against, and another engine's
output), or of lines and utterances: the first word of one has a known start, the last one a known end. The
concatenated utterances come twice: as files, which begin with a breath of silence, and by when the voice in
them begins and ends. Words count that every system has found, so that columns compare.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the twin of openai-whisper with our weights lives with the tests

Spoken = tuple[str, float, float]
"""A word that a system found: text, start and end in seconds."""
Samples = NDArray[np.float32]
Transcribe = Callable[[Samples, str | None], list[Spoken]]
Errors = tuple[list[float], list[float]]
"""Signed errors of starts and of ends, in seconds."""

NEAR_S = (0.1, 0.2)
POOLED = "all but approximate"


@dataclass(frozen=True)
class KnownWord:
    """A word of a reference as it is compared, and its times in seconds where they are known."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class Known:
    """What is known of one recording; `group` is its row of the table."""

    audio: Path
    language: str
    group: str
    words: tuple[KnownWord, ...]

    @property
    def is_exact(self) -> bool:
        """Whether its times are those of the voice, and good to a few hundredths of a second."""
        return not self.group.startswith(("approximate", "files"))


def bare(text: str) -> str:
    """A word without case, spaces and punctuation."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def stretch(text: str, start_s: float, end_s: float) -> list[KnownWord]:
    """The words of `text`, which is spoken from `start_s` to `end_s`."""
    texts = [word for word in map(bare, text.split()) if word]
    first = [start_s, *[None] * (len(texts) - 1)]
    last = [*[None] * (len(texts) - 1), end_s]
    return [KnownWord(*times) for times in zip(texts, first, last, strict=True)]


def known_clips(speech: Path) -> Iterator[Known]:
    """Clips whose words or lines have times."""
    manifest = (speech / "timestamps" / "manifest.jsonl").read_text(encoding="utf-8")
    for row in map(json.loads, manifest.splitlines()):
        words = [w for item in row["items"] for w in stretch(item["text"], item["start"], item["end"])]
        is_approximate = row["level"] != "word" or "approximate" in row["provenance"]
        group = f"approximate, {row['level']}s" if is_approximate else "words"
        language = Path(row["audio"]).name[:2]
        yield Known(speech / row["audio"], language, group, tuple(words))


def known_long(speech: Path) -> Iterator[Known]:
    """Long recordings whose utterances have times: those of the voice, and those of the files."""
    for path in sorted((speech / "longform").glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        for group, prefix in (("utterances", "speech_"), ("files", "")):
            utterances = row["utterances"]
            if group == "files" and "speech_start" not in utterances[0]:
                continue  # its times are a listener's, and those of the voice
            words = [
                word
                for u in utterances
                for word in stretch(
                    u["text"], u.get(f"{prefix}start", u["start"]), u.get(f"{prefix}end", u["end"])
                )
            ]
            yield Known(path.parent / row["audio"], row["language"], group, tuple(words))


def systems(model_name: str, left_open: ExitStack) -> dict[str, Callable[[], Transcribe]]:
    """What makes each system with the weights of `model_name`; files live as long as `left_open`."""
    from tympan.transcription.options import AS_IN_THE_REFERENCE

    return {
        "openai-whisper": lambda: openai_whisper(model_name),
        "faster-whisper": lambda: faster_whisper(model_name, left_open),
        "tympan, as openai": lambda: tympan_transcribe(model_name, **AS_IN_THE_REFERENCE),
        "tympan": lambda: tympan_transcribe(model_name),
    }


def tympan_transcribe(model_name: str, **options: object) -> Transcribe:
    import tympan

    ours = tympan.load_model(model_name, device="cpu", dtype="float32", offline=True)

    def transcribe(samples: Samples, language: str | None) -> list[Spoken]:
        transcript = ours.transcribe(
            samples, language=language, temperature=0.0, beam_size=None, word_timestamps=True, **options
        )
        return [(word.text, word.start, word.end) for s in transcript.segments for word in s.words]

    return transcribe


def openai_whisper(model_name: str) -> Transcribe:
    import torch
    import whisper

    import tympan
    from oracles import openai_twin

    ours = tympan.load_model(model_name, device="cpu", dtype="float32", offline=True)
    theirs = openai_twin(whisper, ours.model)
    heads = torch.zeros(theirs.dims.n_text_layer, theirs.dims.n_text_head, dtype=torch.bool)
    heads[tuple(zip(*ours.alignment_heads, strict=True))] = True
    theirs.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)

    def transcribe(samples: Samples, language: str | None) -> list[Spoken]:
        options: dict[str, Any] = {"language": language, "temperature": 0.0, "fp16": False}
        found = theirs.transcribe(samples, word_timestamps=True, **options)
        return [(word["word"], word["start"], word["end"]) for s in found["segments"] for word in s["words"]]

    return transcribe


def faster_whisper(model_name: str, left_open: ExitStack) -> Transcribe:
    from faster_whisper import WhisperModel

    from recognise import write_ctranslate2

    folder = Path(left_open.enter_context(tempfile.TemporaryDirectory()))
    write_ctranslate2(model_name, folder)
    model = WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=1)

    def transcribe(samples: Samples, language: str | None) -> list[Spoken]:
        segments, _ = model.transcribe(
            samples, language=language, temperature=0.0, beam_size=1, word_timestamps=True
        )
        return [(word.word, float(word.start), float(word.end)) for s in segments for word in s.words or ()]

    return transcribe


def read(path: Path) -> dict[str, list[Spoken]]:
    """The words of each recording in a results file; none when there is no file yet."""
    if not path.exists():
        return {}
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {record["audio"]: [tuple(word) for word in record["words"]] for record in records}


def run(path: Path, make: Callable[[], Transcribe], todo: Iterable[Known]) -> dict[str, list[Spoken]]:
    """Append a record to `path` for every recording that has none yet, and read them all."""
    from tympan.audio.decode import read_waveform

    done = read(path)
    left = {known.audio: known.language for known in todo if known.audio.name not in done}
    transcribe = make() if left else None
    with path.open("a", encoding="utf-8") as file:
        for audio, language in left.items():
            assert transcribe is not None
            words = transcribe(read_waveform(audio), None if language == "mul" else language)
            file.write(json.dumps({"audio": audio.name, "words": words}, ensure_ascii=False) + "\n")
            file.flush()
    return read(path)


def found_at(known: Sequence[KnownWord], spoken: Sequence[Spoken]) -> dict[int, Spoken]:
    """The word of `spoken` for each index of `known` that was found, by the longest common runs of words."""
    texts = [bare(text) for text, _, _ in spoken]
    matcher = difflib.SequenceMatcher(None, [word.text for word in known], texts, autojunk=False)
    return {b.a + i: spoken[b.b + i] for b in matcher.get_matching_blocks() for i in range(b.size)}


def errors(known: Known, answers: Sequence[Sequence[Spoken]]) -> list[Errors]:
    """The errors of every system, on the words that all of them have found."""
    found = [found_at(known.words, answer) for answer in answers]
    shared = sorted(set.intersection(*map(set, found)))
    starts = [(i, t) for i in shared if (t := known.words[i].start_s) is not None]
    ends = [(i, t) for i in shared if (t := known.words[i].end_s) is not None]
    return [([f[i][1] - t for i, t in starts], [f[i][2] - t for i, t in ends]) for f in found]


def statistics(signed: Sequence[float]) -> list[str]:
    """Mean, median and 90th percentile of the absolute errors, their bias, and the shares near the truth."""
    if not signed:
        return ["–"] * (4 + len(NEAR_S))
    apart = np.abs(signed)
    seconds = [apart.mean(), np.median(apart), np.quantile(apart, 0.9), np.mean(signed)]
    shares = [np.mean(apart <= near_s + 1e-6) for near_s in NEAR_S]
    return [*(f"{value:.3f}" for value in seconds), *(f"{100 * share:.0f} %" for share in shares)]


def table(model_name: str, recordings: Sequence[Known], results: dict[str, Any]) -> Iterator[str]:
    """The table of one model, line by line; seconds."""
    rows: defaultdict[tuple[str, str], list[Errors]] = defaultdict(list)
    counts: defaultdict[str, int] = defaultdict(int)
    for known in recordings:
        by_system = errors(known, [answers[known.audio.name] for answers in results.values()])
        for group in [known.group, *([POOLED] if known.is_exact else [])]:
            counts[group] += 1
            for system, found in zip(results, by_system, strict=True):
                rows[group, system].append(found)
    measures = ["n", "mean", "median", "90 %", "bias", *(f"≤ {near_s} s" for near_s in NEAR_S)]
    titles = [
        "model",
        "recordings",
        "system",
        *(f"{side} {m}" for side in ("start", "end") for m in measures),
    ]
    yield line(titles)
    yield line(["---"] * 3 + ["--:"] * (len(titles) - 3))
    for (group, system), parts in sorted(rows.items(), key=lambda row: row[0][0]):
        sides = [[error for part in parts for error in part[side]] for side in (0, 1)]
        cells = [cell for side in sides for cell in (str(len(side)), *statistics(side))]
        yield line([model_name, f"{group} ({counts[group]})", system, *cells])


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def measure(model_name: str, speech: Path, output_dir: Path) -> None:
    """Run all systems where needed, and print the table of `model_name`."""
    recordings = [
        known
        for known in [*known_clips(speech), *known_long(speech)]
        if known.language == "en" or not model_name.endswith(".en")
    ]
    with ExitStack() as left_open:
        results = {
            name: run(output_dir / f"{model_name}.{name}.jsonl".replace(", ", "_"), make, recordings)
            for name, make in systems(model_name, left_open).items()
        }
    print("\n".join(table(model_name, recordings, results)), flush=True)


def main() -> None:
    """Measure every model asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speech", type=Path, default=ROOT.parent / "shared" / "speech")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "out" / "word_times")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    arguments = parser.parse_args()
    if not arguments.speech.is_dir():
        parser.error(f"there is no folder of speech at {arguments.speech}")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for model_name in arguments.models:
        measure(model_name, arguments.speech, arguments.output_dir)


if __name__ == "__main__":
    main()
