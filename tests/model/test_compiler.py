"""How C is compiled on the machine that it is used on, and what happens where it cannot be."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import shutil
from unittest.mock import Mock

import pytest

from tympan.model.compiled import library
from tympan.model.compiled.library import compiled
from tympan.model.cpu import Cpu, this_cpu

needs_compiler = pytest.mark.skipif(
    compiled().functions is None, reason=f"nothing compiled: {compiled().reason}"
)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Compiles anew, into a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TYMPAN_COMPILE", raising=False)
    return library.compiled.__wrapped__


def test_it_may_be_forbidden(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("TYMPAN_COMPILE", "0")
    assert fresh() == library.Compiled(None, "TYMPAN_COMPILE is 0")
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_it_is_compiled_once(fresh, tmp_path):
    assert isinstance(fresh().functions, ctypes.CDLL)
    (made,) = (tmp_path / "tympan").iterdir()
    time = made.stat().st_mtime_ns
    assert fresh().reason == str(made)
    assert made.stat().st_mtime_ns == time


@needs_compiler
def test_a_library_that_is_there_needs_no_compiler(fresh, monkeypatch):
    assert fresh().functions is not None
    monkeypatch.setenv("PATH", "")
    assert fresh().functions is not None


@pytest.mark.skipif(this_cpu().int8_engine is None, reason="another processor says so before")
class TestWithout:
    def test_a_compiler(self, fresh, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert fresh() == library.Compiled(None, "no C compiler is here (cc, gcc)")

    def test_a_compiler_that_works(self, fresh, monkeypatch, tmp_path):
        program = tmp_path / "bin" / "cc"
        program.parent.mkdir()
        program.write_text(f"#!{shutil.which('sh')}\necho no such flag >&2\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        assert fresh() == library.Compiled(None, "could not be compiled: no such flag")
        assert not list((tmp_path / "tympan").iterdir())

    @needs_compiler
    def test_a_compiler_that_knows_all_of_the_processor(self, fresh, monkeypatch, tmp_path):
        program = tmp_path / "bin" / "cc"
        program.parent.mkdir()
        program.write_text(
            f'#!{shutil.which("sh")}\ncase "$*" in *-mavxvnni*) echo what is -mavxvnni >&2; exit 1;; esac\n'
            f'exec {shutil.which("cc") or shutil.which("gcc")} "$@"\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        newer = dataclasses.replace(this_cpu(), has_vnni=False, has_avx_vnni=True)
        monkeypatch.setattr(library, "this_cpu", lambda: newer)
        made = fresh().functions
        assert made is not None
        assert made.tympan_most_levels() == 127

    @needs_compiler
    def test_a_library_that_is_whole(self, fresh):
        place = library._place(library._flags(library._kinds()[0]))
        place.parent.mkdir()
        place.write_text("no library")
        assert fresh().functions is not None

    def test_a_home(self, fresh, monkeypatch):
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(library.Path, "expanduser", Mock(side_effect=RuntimeError("no home")))
        assert fresh() == library.Compiled(None, "could not be compiled: no home")

    def test_a_folder_to_write_to(self, fresh, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert fresh().functions is None


def test_other_processors_go_without(monkeypatch, fresh):
    monkeypatch.setattr(library, "this_cpu", lambda: Cpu("NEON", False, False, False, None))
    assert fresh() == library.Compiled(None, "made for AVX2 on Linux")
