"""A plugin of pytest, `-p emulate_amx`: this processor has AMX, as far as tympan can tell.

Its compiled C does what AMX does in plain C (`emulated.h`), and all else as it is here. Of the processor it
needs AVX512 with the extensions that those sources use beside AMX.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tympan.model import cpu

_real = cpu.this_cpu()
_with_amx = dataclasses.replace(_real, has_amx=True)
cpu.this_cpu = lambda: _with_amx

from tympan.model.compiled import library  # noqa: E402  (it takes `this_cpu` from there)

_flags = library._flags
library._flags = lambda kind: [*_flags(kind), "-include", str(Path(__file__).with_name("emulated.h"))]
