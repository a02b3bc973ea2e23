"""A GPU that is not there: tensors that say they lie on it, and are computed by the CPU, by a GPU's rules.

What a GPU refuses is refused here: operands on two devices, NumPy in its memory, products of integers,
float64 on Apple's. Each time that the host waits for the GPU is counted, with the file that made it wait. A
CUDA graph is a list of the operations that were called and the tensors they were called with; what Python
would decide anew is played back as it was, and what another graph of the same pool left behind is gone.

That shows where tensors lie, what waits, and what a graph holds: not kernels, their rounding or their speed,
nor what is done by several threads or in a backward pass.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import inspect
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten

_READS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default,
    aten.is_nonzero.default, aten._unique2.default, aten.repeat_interleave.Tensor,
}  # fmt: skip
_COPIES = {aten.copy_.default, aten._to_copy.default}
_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
_PRODUCTS = {aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default}

_GUARDS = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
using namespace c10;
template <DeviceType D> struct Only final : impl::NoOpDeviceGuardImpl<D> {
  Device exchangeDevice(Device) const override { return Device(D, 0); }
  Device getDevice() const override { return Device(D, 0); }
};
static impl::DeviceGuardImplRegistrar cuda(DeviceType::CUDA, new Only<DeviceType::CUDA>());
static impl::DeviceGuardImplRegistrar mps(DeviceType::MPS, new Only<DeviceType::MPS>());
"""
"""Tells a PyTorch that was built for the CPU that each type of GPU has one device, the current one."""


class DeviceTensor(Tensor):
    """A tensor on the stand-in; `held` is the same for the CPU."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> DeviceTensor:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=device,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} was called when the stand-in was gone")

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"DeviceTensor({self.held!r}, device={str(self.device)!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made: Tensor = DeviceTensor(self.held.clone(), self.device)
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        return memo.setdefault(id(self), made)

    def tolist(self) -> Any:
        _entered[-1].wait("tolist")
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.cpu().numpy()
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, dtype: object = None, copy: object = None) -> Any:
        return self.numpy()

    def data_ptr(self) -> int:
        return self.held.data_ptr() | 1 << 62  # an address that code for the CPU cannot read


class StandInDevice(TorchDispatchMode):
    """While it is entered there is a GPU of type "cuda" or "mps"; see `stand_in`.

    waits: how often the host waited, by what made it wait and where in tympan.
    n_calls: operations that were called one by one.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.device = torch.device(kind, 0)
        self.waits: Counter[str] = Counter()
        self.n_calls = 0
        self._recording: _Graph | None = None

    def wait(self, what: str) -> None:
        """The host waits for what the GPU has still to do."""
        if self._recording is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")
        frame = inspect.currentframe()
        while frame is not None and "/src/tympan/" not in frame.f_code.co_filename:
            frame = frame.f_back
        place = "the test" if frame is None else frame.f_code.co_filename.rpartition("/src/tympan/")[2]
        self.waits[f"{what} in {place}"] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if _comes_whole(func):
            with self:
                return func.decompose(*args, **kwargs or {})
        ours: list[DeviceTensor] = []
        elsewhere: list[Tensor] = []

        def held(tensor: Tensor) -> Tensor:
            if isinstance(tensor, DeviceTensor):
                ours.append(tensor)
                return tensor.held
            elsewhere.append(tensor)
            return tensor

        held_args = [_each_tensor(held, value) for value in args]
        held_kwargs = {name: _each_tensor(held, value) for name, value in (kwargs or {}).items()}
        is_ours = bool(ours)
        if held_kwargs.get("device") is not None:
            is_ours = torch.device(held_kwargs["device"]).type == self.device.type
            held_kwargs["device"] = torch.device("cpu") if is_ours else held_kwargs["device"]
        if not ours and not is_ours:
            return func(*args, **kwargs or {})
        self.n_calls += 1
        self._check(func, args, held_kwargs, elsewhere, is_ours)
        call = func if self._recording is None else functools.partial(self._recording.record, func)
        found = call(*held_args, **held_kwargs)
        if func._schema.is_mutable:  # the very tensors that were given
            known = {id(tensor.held): tensor for tensor in ours}
            return _each_tensor(lambda tensor: known.get(id(tensor), tensor), found)
        if not is_ours:
            return found
        if torch.is_inference_mode_enabled() and _is_view(func) and ours and not ours[0].is_inference():
            with torch.inference_mode(False):  # a view of what is no inference tensor is none either
                return _each_tensor(self._wrapped, found)
        return _each_tensor(self._wrapped, found)

    def _check(self, func, args, kwargs, elsewhere: list[Tensor], is_ours: bool) -> None:
        """Refuse what a GPU refuses, and count what it makes the host wait for."""
        if func in _COPIES:
            is_sent = kwargs.get("non_blocking") and all(
                hasattr(each, "is_pinned_here") for each in elsewhere
            )
            if not is_ours or (elsewhere and not is_sent):
                self.wait(str(func))
        elif func in _INDEXING and elsewhere and isinstance(args[0], DeviceTensor):
            self.wait(f"{func}, by an index in the host's memory,")
        elif is_ours and any(tensor.dim() for tensor in elsewhere):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{self.device} and cpu! (when calling {func})"
            )
        if func in _READS or (func in _INDEXING and any(map(_is_mask, args[1]))):
            self.wait(str(func))
        if func in _PRODUCTS and not args[0].is_floating_point():
            raise RuntimeError(f'"{func}" not implemented for {args[0].dtype} on {self.device}')

    def _wrapped(self, held: Tensor) -> DeviceTensor:
        if self.device.type == "mps" and held.dtype in (torch.float64, torch.complex128):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework has no float64."
            )
        return DeviceTensor(held, self.device)

    @contextlib.contextmanager
    def record(self, graph: _Graph, **options: Any) -> Iterator[None]:
        """`torch.cuda.graph`: until it is left, what is called goes into `graph`, and is not computed."""
        _REAL_SIGNATURE.bind(None, graph, **options)
        assert self._recording is None
        self._recording = graph
        options["pool"].append(graph)
        graph.pool = options["pool"]
        try:
            yield
        finally:
            self._recording = None


class _Graph:
    """`torch.cuda.CUDAGraph`."""

    pool: list[_Graph]

    def __init__(self) -> None:
        self._calls: list[tuple[Any, Any, Any]] = []
        self._results: list[list[Any]] = []

    def record(self, func, *args, **kwargs):
        """What `func` gives, whose numbers are still to come."""
        if _is_view(func):
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            given = dict(zip((each.name for each in func._schema.arguments), args, strict=False)) | kwargs
            (found,) = (given[each.name] for each in func._schema.arguments if each.is_write)
            self._results.append([])
        else:
            found = func(*args, **kwargs)
            self._results.append([leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)])
            _spoil(self._results[-1])
        self._calls.append((func, args, kwargs))
        return found

    def replay(self) -> None:
        """Do it all again, in the same memory; what other graphs of the pool had there is written over."""
        for other in self.pool:
            if other is not self:
                for results in other._results:
                    _spoil(results)
        for (func, args, kwargs), results in zip(self._calls, self._results, strict=True):
            found = func(*args, **kwargs)
            if results:
                for place, now in zip(results, tree_leaves(found), strict=True):
                    place.copy_(now)


class _Functions(TorchFunctionMode):
    """What PyTorch asks of a driver before it calls an operation."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.pin_memory:
            pinned = args[0].clone()
            pinned.is_pinned_here = True
            return pinned
        if func is Tensor.cuda:
            return args[0].to(self._device)
        if func is torch.nn.functional.scaled_dot_product_attention and isinstance(args[0], DeviceTensor):
            return aten._scaled_dot_product_attention_math(*args, **kwargs)[0]
        return func(*args, **kwargs)


class _Generator(torch.Generator):
    """One for the CPU, whatever device it is asked for."""

    def __new__(cls, device: object = None) -> _Generator:
        return super().__new__(cls)


def _each_tensor(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`value`, with what `change` makes of each tensor in it."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_each_tensor(change, item) for item in value])
    return value


@functools.cache
def _comes_whole(func: Any) -> bool:
    """Whether `func` is made of others, which PyTorch leaves to a mode that is entered in inference mode."""
    return func._can_decompose() and func not in _READS


@functools.cache
def _is_view(func: Any) -> bool:
    return any(result.alias_info and not result.alias_info.is_write for result in func._schema.returns)


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _spoil(results: list[Tensor]) -> None:
    for result in results:
        result.fill_(torch.nan if result.is_floating_point() else 0)


_REAL_SIGNATURE = inspect.signature(torch.cuda.graph.__init__)
_entered: list[StandInDevice] = []


@functools.cache
def _load_guards() -> None:
    """Let PyTorch know of devices of both types; whoever has real ones keeps to those."""
    if torch.backends.cuda.is_built() or torch.backends.mps.is_built():
        pytest.skip("the stand-in for a GPU takes the place of PyTorch's own, which this one has")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("the stand-in for a GPU needs g++")
    root = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "guards.cpp", Path(folder) / "guards.so"
        source.write_text(_GUARDS)
        options = ["-std=c++20", "-shared", "-fPIC", f"-I{root / 'include'}", f"-L{root / 'lib'}"]
        subprocess.run([compiler, *options, str(source), "-lc10", "-o", str(library)], check=True)
        ctypes.CDLL(str(library))


@contextlib.contextmanager
def stand_in(kind: str = "cuda") -> Iterator[StandInDevice]:
    """Let there be a GPU of type `kind`; a test is skipped without g++, or if PyTorch is built for GPUs."""
    _load_guards()
    device = StandInDevice(kind)
    patches: dict[Any, dict[str, Any]] = {torch: {"Generator": _Generator}}
    if kind == "cuda":
        patches[torch.cuda] = {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "_lazy_init": lambda: None,
            "current_device": lambda: 0,
            "get_device_name": lambda *_: "a stand-in",
            "synchronize": lambda *_: device.wait("synchronize"),
            "device": lambda _: contextlib.nullcontext(),
            "Stream": lambda *_: mock.Mock(),
            "current_stream": mock.Mock,
            "stream": lambda _: contextlib.nullcontext(),
            "CUDAGraph": _Graph,
            "graph": device.record,
            "graph_pool_handle": list,
        }
    else:
        patches[torch.backends.mps] = {"is_available": lambda: True}
    with contextlib.ExitStack() as stack:
        for owner, names in patches.items():
            stack.enter_context(mock.patch.multiple(owner, **names))
        _entered.append(device)
        stack.callback(_entered.pop)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Functions(device.device))
        stack.enter_context(device)
        yield device
