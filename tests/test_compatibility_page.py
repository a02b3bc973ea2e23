"""`docs/compatibility.md` is true: its tests exist, and no argument of transformers is passed over."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tympan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
MODELS = (
    "WhisperModel",
    "WhisperForConditionalGeneration",
    "WhisperForCausalLM",
    "WhisperForAudioClassification",
)
DOCUMENTED = {
    "WhisperConfig": ("__init__", "from_pretrained"),
    "WhisperTokenizer": (
        "__init__", "__call__", "encode", "decode", "batch_decode", "set_prefix_tokens",
        "build_inputs_with_special_tokens", "get_special_tokens_mask", "get_decoder_prompt_ids",
        "get_prompt_ids", "normalize", "basic_normalize", "tokenize", "pad", "save_vocabulary",
        "save_pretrained", "from_pretrained",
    ),
    "WhisperFeatureExtractor": ("__init__", "__call__", "pad", "save_pretrained", "from_pretrained"),
    "WhisperProcessor": (
        "__init__", "__call__", "decode", "batch_decode", "save_pretrained", "from_pretrained",
    ),
    **dict.fromkeys(MODELS, ("forward", "from_pretrained", "save_pretrained")),
    "WhisperModel": ("forward", "from_pretrained", "save_pretrained", "_mask_input_features"),
    "WhisperForConditionalGeneration": (
        "forward", "from_pretrained", "save_pretrained", "generate", "detect_language",
    ),
}  # fmt: skip
_CODE = re.compile(r"`([^`]+)`")
_TEST = re.compile(r"test_\w+")


@dataclass
class Chapter:
    """A part of the page under `##`: the test files it names, and the tests."""

    title: str
    files: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


def page():
    return PAGE.read_text(encoding="utf-8")


def chapters():
    for part in re.split(r"^## ", page(), flags=re.MULTILINE):
        chapter = Chapter(part.splitlines()[0])
        for code in _CODE.findall(part):
            if code.endswith(".py"):
                chapter.files.append(code)
            elif _TEST.fullmatch(code):
                chapter.tests.append(code)
        yield chapter


def arguments_by_method():
    """`Class.method` -> the words in code in the first column of the tables under a heading that names it."""
    found = {}
    for part in re.split(r"^##+ ", page(), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        rows = [line.split("|")[1] for line in body.splitlines() if line.startswith("|")]
        words = {word for cell in rows for word in _CODE.findall(cell)}
        for name in _CODE.findall(heading):
            found.setdefault(name, set()).update(words)
    return found


def left_out():
    """(method of the models, argument) of the last table of the page."""
    rows = page().partition("\n## Left out\n")[2].splitlines()
    cells = [row.split("|") for row in rows if row.startswith("| `")]
    return {
        (method, name) for row in cells for method in _CODE.findall(row[1]) for name in _CODE.findall(row[2])
    }


def functions_of(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def parameters(owner, method):
    found = inspect.signature(getattr(owner, method)).parameters.values()
    return [
        p.name
        for p in found
        if p.name not in ("self", "cls") and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


@pytest.mark.parametrize("chapter", tuple(chapters()), ids=lambda chapter: chapter.title)
def test_every_test_named_on_the_page_exists(chapter):
    missing_files = [file for file in chapter.files if not (ROOT / file).is_file()]
    assert not missing_files
    assert chapter.files or not chapter.tests, "a part that names tests names their files as well"
    known = set().union(*(functions_of(file) for file in chapter.files))
    assert not [name for name in chapter.tests if name not in known]


@pytest.mark.parametrize(
    ("name", "method"), [(name, method) for name, methods in DOCUMENTED.items() for method in methods]
)
def test_every_argument_of_transformers_is_on_the_page(name, method):
    transformers = pytest.importorskip("transformers")
    heading = name if (name, method) == ("WhisperConfig", "__init__") else f"{name}.{method}"
    told = arguments_by_method()
    assert heading in told, "no heading of the page names it"
    absent = {argument for left, argument in left_out() if left == method and name in MODELS}
    theirs = parameters(getattr(transformers, name), method)
    assert [argument for argument in theirs if argument not in told[heading] | absent] == []


@pytest.mark.parametrize("name", MODELS)
def test_what_the_page_leaves_out_is_left_out(name):
    transformers = pytest.importorskip("transformers")
    assert left_out()
    for method, argument in left_out():
        assert argument in parameters(getattr(transformers, name), method), (method, argument)
        assert argument not in parameters(getattr(tympan, name), method), (
            f"{argument} is there: tell the page"
        )


def test_every_name_on_the_page_can_be_imported():
    names = re.findall(r"`(Whisper\w+|GenerationConfig|BatchFeature)`", page())
    assert {*DOCUMENTED, "WhisperTokenizerFast"} <= set(names)
    for name in {*DOCUMENTED, "WhisperTokenizerFast", "GenerationConfig"}:
        assert hasattr(tympan, name), name
