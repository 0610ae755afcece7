"""A device of torch's beside the CPU, simulated on it, in the place of a GPU.

Its tensors hold their values in host tensors that nothing but torch's operators reaches: one left
on the other side, or read without ``.cpu()``, is an error here as it is on a GPU. Operators are
those of the CPU; autocast rounds the products and convolutions that it rounds on a GPU.
"""

import torch
from torch.utils import _python_dispatch, _pytree, backend_registration

DEVICE = "simulated"
SETUP = "_setup_privateuseone_for_python_backend"  # experimental in torch 2.13

# As with CUDA, these take indices or values from the host.
MIXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
COPYING = {"aten::copy_", "aten::_to_copy"}
HALVED = ("conv3d", "linear", "matmul", "bmm", "mm", "addmm", "einsum")
WHOLE = ("exp", "log", "pow.Tensor_Scalar", "sum", "sum.dim_IntList", "linalg_cholesky_ex")

_registered: list[torch.library.Library] = []


class Held(torch.Tensor):
    """A tensor of the simulated device."""

    @staticmethod
    def __new__(cls, values: torch.Tensor):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(DEVICE, 0),
        )

    def __init__(self, values: torch.Tensor):
        self.values = values

    def __repr__(self):
        return f"Held({self.values})"

    @classmethod
    def __torch_dispatch__(cls, operator, types, arguments=(), options=None):
        return _run(operator, arguments, options or {})


class SimulatedDevice(_python_dispatch.TorchDispatchMode):
    """While entered, ``torch.device("simulated")`` can hold tensors."""

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        return _run(operator, arguments, options or {})


def _run(operator, arguments, options):
    tensors = [x for x in _pytree.tree_leaves((arguments, options)) if isinstance(x, torch.Tensor)]
    there = any(isinstance(tensor, Held) for tensor in tensors)
    name = operator.name().split(".")[0]
    if there and name not in MIXING | COPYING:
        for tensor in tensors:
            if not isinstance(tensor, Held) and tensor.dim():
                raise RuntimeError(f"{name}: tensors on {DEVICE} and on the CPU {tensor.shape}")
    if options.get("device") is not None:
        there = torch.device(options["device"]).type == DEVICE
        options = {**options, "device": torch.device("cpu")}
    elif name == "aten::copy_":
        there = isinstance(arguments[0], Held)
    known = {id(tensor.values): tensor for tensor in tensors if isinstance(tensor, Held)}
    arguments, options = _pytree.tree_map_only(Held, lambda x: x.values, (arguments, options))
    result = _compute(operator, arguments, options)
    if not there:
        return result
    # What an operator changed in place is returned as the tensor it was given.
    known = known if operator._schema.is_mutable else {}

    def wrap(tensor):
        return known[id(tensor)] if id(tensor) in known else Held(tensor)

    return _pytree.tree_map_only(torch.Tensor, wrap, result)


def _compute(operator, arguments, options):
    """By the CPU's own operator; of what it has none for float16, the rounded float32 result."""
    try:
        return operator(*arguments, **options)
    except NotImplementedError as error:
        if "not implemented for 'Half'" not in str(error) or operator._schema.is_mutable:
            raise
    arguments, options = _pytree.tree_map_only(
        torch.Tensor, lambda x: x.float() if x.dtype == torch.half else x, (arguments, options)
    )
    return _pytree.tree_map_only(torch.Tensor, torch.Tensor.half, operator(*arguments, **options))


def _autocast(name: str, dtype: torch.dtype | None) -> None:
    """Let autocast round the arguments of an operator to its own type, or to ``dtype``."""
    packet, _, overload = name.partition(".")
    operator = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def cast(*arguments, **options):
        wanted = dtype or torch.get_autocast_dtype(DEVICE)

        def to(tensor):
            return tensor.to(wanted) if tensor.is_floating_point() else tensor

        key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
        with torch._C._ExcludeDispatchKeyGuard(key):
            return operator(*_pytree.tree_map_only(torch.Tensor, to, arguments), **options)

    library = torch.library.Library("aten", "IMPL")
    library.impl(name, cast, "AutocastPrivateUse1")
    _registered.append(library)


def simulated_device() -> torch.device:
    """The device, which torch knows from the first call on.

    Raises NotImplementedError where torch is too old for devices written in Python.
    """
    if not hasattr(backend_registration, SETUP):
        raise NotImplementedError(f"torch {torch.__version__} has no {SETUP}")
    if not _registered:
        getattr(backend_registration, SETUP)(DEVICE)
        types = [torch.float16, torch.bfloat16]
        getattr(torch, DEVICE).get_amp_supported_dtype = lambda: types
        others = torch.library.Library("_", "IMPL")
        others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
        _registered.append(others)
        for name in HALVED:
            _autocast(name, None)
        for name in WHOLE:
            _autocast(name, torch.float32)
    return torch.device(DEVICE, 0)
