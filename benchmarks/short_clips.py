"""How long do a hundred short clips take?

    python benchmarks/short_clips.py --record
    python benchmarks/short_clips.py --clips 20 --batch-size 16 --systems tympan faster-whisper openvino

tympan takes them together (`transcribe_many`, one call for each language), the others one after the other, as
they are made to. Greedy, the language of each clip given, otherwise as in `speed.py`. The clips are
evenly drawn from those of the speech folder that are not made from others: English first, then the other
languages. Error rates are pooled over the clips of a language, of words, for Japanese of characters.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from accuracy import COUNTED_IN_CHARACTERS, Recording
from arguments import compete, limited_to, packages, speed_parser, title
from peers.process import Contestant, Measured, Request, request_for
from references import References, percent
from report import chosen, median_and_range, publish, table
from tympan.text.error_rate import ErrorRate

QUESTION = "How long do a hundred short clips take?"
N_WARM_UP = 8


def main() -> None:
    arguments = parse()
    references = References.read(arguments.speech)
    clips = drawn(references.by_name.values(), arguments.clips, english_only=arguments.model.endswith(".en"))
    if not clips:
        raise SystemExit(f"there are no clips in {arguments.speech}")
    folder = arguments.speech / "clips"
    request = request_for([(folder / clip.key[1], clip.language) for clip in clips])
    entrants = [entrant(c, arguments.batch_size) for c in limited_to(arguments.isa, arguments.systems)]
    results = compete(
        arguments,
        entrants,
        request,
        warm_up=Request(request.sounds[:N_WARM_UP], request.languages[:N_WARM_UP]),
    )
    languages = list(dict.fromkeys(clip.language for clip in clips))
    body = [
        f"{arguments.model}, {len(clips)} clips, {counts(clips)}; {arguments.threads} threads; "
        f"{arguments.runs} runs of each in turn, after {N_WARM_UP} clips to warm up.",
        table(titles(languages), rows(results, clips, languages, references, folder)),
        *chosen({c.label: m.settled for c, m in results}),
    ]
    publish(title(QUESTION, arguments), "\n\n".join(body), packages(entrants), record=arguments.record)


def parse() -> argparse.Namespace:
    parser = speed_parser(__doc__, ("tympan", "faster-whisper"))
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8, help="of tympan")
    return parser.parse_args()


def drawn(recordings: Sequence[Recording], n_clips: int, *, english_only: bool) -> list[Recording]:
    """Every so manieth clip, of English first, then of the others in the order of the manifest."""
    whole = [
        r
        for r in recordings
        if r.key[0] == "clips" and not r.derived and (r.language == "en" or not english_only)
    ]
    whole.sort(key=lambda recording: recording.language != "en")
    n_clips = min(n_clips, len(whole))
    return [whole[i * len(whole) // n_clips] for i in range(n_clips)]


def entrant(contestant: Contestant, batch_size: int) -> Contestant:
    """Greedy; the clips together where the system takes them together, which is ours alone."""
    is_ours = contestant.system == "tympan"
    together = Contestant(
        contestant.system,
        contestant.options,
        contestant.environment,
        f"{batch_size} at a time" if is_ours and batch_size > 1 else "one by one",
    )
    return together.with_options(beam_size=1, batch_size=batch_size if is_ours else 1)


def counts(clips: Sequence[Recording]) -> str:
    """`68 en, 19 de, ...`."""
    by_language: dict[str, int] = {}
    for clip in clips:
        by_language[clip.language] = by_language.get(clip.language, 0) + 1
    return ", ".join(f"{n} {language}" for language, n in by_language.items())


def titles(languages: Sequence[str]) -> list[str]:
    measures = ["CER" if language in COUNTED_IN_CHARACTERS else "WER" for language in languages]
    rates = [f"{language} {measure}, %" for language, measure in zip(languages, measures, strict=True)]
    return ["system", "median, s", "range, s", "tympan ÷ it", *rates, "peak, MB"]


def rows(
    results: Sequence[tuple[Contestant, Measured]],
    clips: Sequence[Recording],
    languages: Sequence[str],
    references: References,
    folder: Path,
) -> Iterator[list[str]]:
    ours = [statistics.median(m.seconds) for c, m in results if c.system == "tympan"]
    for entry, found in results:
        rates: dict[str, list[ErrorRate | None]] = {language: [] for language in languages}
        for clip, text in zip(clips, found.texts, strict=True):
            rates[clip.language].append(references.error_rate(folder / clip.key[1], text))
        yield [
            entry.label,
            *median_and_range(found.seconds),
            f"{ours[0] / statistics.median(found.seconds):.2f}" if ours else "–",
            *(percent(rates[language]) for language in languages),
            f"{found.peak_mb:.0f}",
        ]


if __name__ == "__main__":
    main()
