"""Measurements into Markdown: tables, medians with their range, and the sections of RESULTS.md.

A section is named for the question that its program answers, and the processor it was answered on. `--record`
replaces the program's own section for this processor, and leaves the others as they are.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from accuracy import REPOSITORY, markdown_line

RESULTS = REPOSITORY / "benchmarks" / "RESULTS.md"
_HEADING = """\
# Results

Each section is written by the program named in its command, with `--record`. Times compare within a section:
its runs alternated in the same minutes, on one machine.
"""
_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instructions that decide which arithmetic is fast."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, n_names: int = 1) -> str:
    """A Markdown table; the first `n_names` columns are names, the others numbers, set to the right."""
    lines = [markdown_line(titles)]
    lines.append(markdown_line(["---"] * n_names + ["--:"] * (len(titles) - n_names)))
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"expected {len(titles)} cells, got {len(row)}: {row}")
        lines.append(markdown_line(row))
    return "\n".join(lines)


def median_and_range(seconds: Sequence[float]) -> list[str]:
    """Two cells: the median, and the least and most."""
    return [digits(statistics.median(seconds)), f"{digits(min(seconds))}–{digits(max(seconds))}"]


def digits(seconds: float) -> str:
    """Seconds with three digits that count, or whole ones."""
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def replace_section(page: str, title: str, body: str) -> str:
    """`page` with the section `## title` holding `body`; one that is not there yet comes last."""
    section = f"## {title}\n\n{body.strip()}\n"
    parts = re.split(r"(?m)^(?=## )", page)
    found = [i for i, part in enumerate(parts) if part.splitlines()[:1] == [f"## {title}"]]
    if found:
        parts[found[0]] = section
    else:
        parts.append(section)
    return "\n".join(part.strip("\n") + "\n" for part in parts if part.strip())


def chosen(settled: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """A line for each system that says what it chose by itself."""
    for label, options in settled.items():
        said = [f"{name} {options[name]}" for name in ("device", "dtype", "quantize") if name in options]
        if said:
            yield f"{label} chose {', '.join(said)}."


def publish(title: str, body: str, packages: Iterable[str], *, record: bool) -> None:
    """Print a section, and write it to RESULTS.md where asked to."""
    whole = f"{provenance(packages)}\n\n{body.strip()}\n"
    title = f"{title}, on {processor()}"
    print(f"## {title}\n\n{whole}")
    if record:
        page = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _HEADING
        RESULTS.write_text(replace_section(page, title, whole), encoding="utf-8")


def provenance(packages: Iterable[str]) -> str:
    """When, on what machine, with which versions and by what command."""
    versions = [f"{name} {metadata.version(name)}" for name in dict.fromkeys([*packages, "torch"])]
    return "\n".join(
        [
            f"- {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, tympan at {commit()}",
            f"- {machine()}",
            f"- Python {platform.python_version()}, {', '.join(versions)}",
            f"- `{command(sys.argv)}`",
        ]
    )


def command(arguments: Sequence[str]) -> str:
    """The command line, with paths as they are from the repository."""
    words = [os.path.relpath(word, REPOSITORY) if os.path.isabs(word) else word for word in arguments[1:]]
    program = os.path.relpath(Path(arguments[0]).resolve(), REPOSITORY)
    return shlex.join(["python", program, *words])


def commit() -> str:
    """The commit of this checkout, with a word when files differ from it."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=True, text=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "src"], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"
    return name.stdout.strip() + (", with changes" if changed.stdout.strip() else "")


def processor() -> str:
    """The name that the processor gives itself."""
    facts = _cpu_facts()
    name = facts.get("model name", platform.machine())
    if re.search(r"\d", name) or "cpu family" not in facts:
        return name
    return f"{name}, family {facts['cpu family']} model {facts['model']}"  # one name for several generations


def machine() -> str:
    """The processor, its cores that this process may use, and those of its instructions that matter."""
    flags = set(_cpu_facts().get("flags", "").split())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory_gib:.0f} GiB; {', '.join(name for name in _FLAGS if name in flags)}"
    )


def _cpu_facts() -> dict[str, str]:
    """What the system says of the last processor, by name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in known.items()}
