"""Records for other programs: the whole transcript as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from tympan.results import Transcript


def json_record(transcript: Transcript) -> str:
    """Everything in `Transcript.to_dict()`, indented by two, with every script written as itself.

    JSON has no NaN and no infinity; such numbers are written as null.
    """
    record = _plain(transcript.to_dict())
    return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401
    """`value` in the types of JSON alone: mappings, sequences and NumPy's numbers included."""
    match value:
        case None | bool() | str():
            return value
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Integral():
            return int(value)
        case Real():
            return float(value) if math.isfinite(value) else None
    return value
