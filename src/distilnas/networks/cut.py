"""Cutting a network at modules that are its whole state: what lies between two of them, as a module of its own.

The network's forward is traced once (``torch.fx``), opening only the modules around the cuts, so that the control flow
of all others is no obstacle and remains theirs. What is cut out keeps the network's modules under their dotted names,
and its raw layout: whatever the module at a cut gives out, the next part takes in. Values that do not depend on the
images (position tables, say) belong to every part that uses them.
"""

import hashlib
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from distilnas.errors import UsageError
from distilnas.networks.sizes import is_batch, settle_sizes


def trace(model: nn.Module, paths: Sequence[str], image_shape: tuple[int, int, int] | None = None) -> fx.Graph:
    """Forward of ``model`` as a graph in which each module at ``paths`` is one call.

    Optional arguments of ``forward`` have their defaults. Where sizes pass by a cut and all images will have
    ``image_shape`` (C, H, W), these sizes become constants. Raises ``UsageError`` where the code around the cuts
    branches on values or shapes of tensors, so that it is no fixed graph.
    """
    try:
        graph = _Tracer(paths).trace(model, concrete_args=_defaults(model.forward))
    except Exception as error:  # stand-ins run through the network's own code: anything may be raised
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        remedy = "Cut it elsewhere (teacher.partition), or choose another."
        if any(getattr(part, "dynamic_img_size", False) for part in model.modules()):
            remedy = "Build it for one size: teacher.model_kwargs={img_size: ...} without dynamic_img_size."
        raise UsageError(
            f"a network is cut into modules by tracing its forward, but that of {type(model).__name__} is no fixed "
            f"graph around {', '.join(paths)}: {reason}. {remedy}"
        ) from error
    if image_shape is not None and any(_passing(graph, path) for path in paths):
        settle_sizes(model, graph, image_shape)
    return graph


def between(graph: fx.Graph, start: str | None, end: str | None) -> fx.Graph:
    """The part of ``graph`` from the output of the module at ``start`` (None: the images) to that at ``end``.

    Its only input is what ``start`` gives out; ``end`` None is the network's output. Raises ``UsageError`` when the
    part needs more than that, or a module is not called exactly once.
    """
    first, last = _start(graph, start), _end(graph, end)
    tainted = _dependent_otherwise(graph, first)
    if last in tainted:
        raise UsageError(
            f"a part of a network must depend on the images through its start alone, but {_extra(graph, first, last)} "
            f"is used between {start or 'the images'} and {end or 'the output'} as well: cut elsewhere "
            "(teacher.partition)."
        )
    part = fx.Graph()
    known = {first: part.placeholder("feature" if start else "images")}
    for node in _ancestors(graph, last, first):
        if start and is_batch(node):
            shape = part.call_function(getattr, (known[first], "shape"))
            known[node] = part.call_function(operator.getitem, (shape, 0))
        else:
            known[node] = part.node_copy(node, known.__getitem__)
    part.output(known[last])
    return part


def as_module(model: nn.Module, part: fx.Graph) -> fx.GraphModule:
    """``part`` of ``model`` as a module; it shares weights and buffers with ``model`` and leaves its input as it is."""
    _protect_input(model, part)
    module = fx.GraphModule(model, part, class_name=f"PartOf{type(model).__name__}")
    _wake_dropout(module)
    return module


class _Tracer(fx.Tracer):
    """Opens only the modules around cuts; all others stay whole."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(param_shapes_constant=True)
        self._opened = {path[:dot] for path in paths for dot, letter in enumerate(path) if letter == "."}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self._opened

    def create_arg(self, a: Any) -> Any:
        """Constants get names that say what they hold: the same ones in whichever copy this is traced, and when."""
        if (
            isinstance(a, Tensor)
            and not isinstance(a, nn.Parameter)
            and all(a is not own for own in self.root.buffers())
        ):
            if a.is_meta:
                raise ValueError("a constant of its forward has no values")
            name = f"constant_{_digest(a)}"
            if not hasattr(self.root, name):
                setattr(self.root, name, a)
            return self.create_node("get_attr", name, (), {})
        return super().create_arg(a)


def _digest(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + values).hexdigest()[:8]


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Optional arguments of ``function``: fixed to their defaults, they are no inputs of its graph."""
    parameters = inspect.signature(function).parameters
    return {name: entry.default for name, entry in parameters.items() if entry.default is not inspect.Parameter.empty}


def _images(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "placeholder")


def _start(graph: fx.Graph, path: str | None) -> fx.Node:
    return _images(graph) if path is None else _call(graph, path)


def _end(graph: fx.Graph, path: str | None) -> fx.Node:
    if path is not None:
        return _call(graph, path)
    (result,) = next(node for node in reversed(graph.nodes) if node.op == "output").args
    if not isinstance(result, fx.Node):
        raise UsageError(f"a network that is cut must give one tensor, got {type(result).__name__}: wrap it.")
    return result


def _call(graph: fx.Graph, path: str) -> fx.Node:
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == path]
    if len(calls) != 1:
        raise UsageError(
            f"a network is cut at modules that its forward calls exactly once, {path!r} is called {len(calls)} times "
            "as a whole: cut elsewhere (teacher.partition)."
        )
    return calls[0]


def _dependent_otherwise(graph: fx.Graph, first: fx.Node) -> set[fx.Node]:
    """Nodes that depend on the images not only through ``first``."""
    images = _images(graph)
    tainted: set[fx.Node] = set() if first is images else {images}
    for node in graph.nodes:
        if node is not first and not is_batch(node) and not tainted.isdisjoint(node.all_input_nodes):
            tainted.add(node)
    return tainted


def _passing(graph: fx.Graph, path: str) -> bool:
    """Whether something besides the output of the module at ``path`` is used after it."""
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == path]
    return len(calls) == 1 and _end(graph, None) in _dependent_otherwise(graph, calls[0])


def _extra(graph: fx.Graph, first: fx.Node, last: fx.Node) -> str:
    """What was computed up to ``first`` and enters the part that leads to ``last``, by its nearest module."""
    order = {node: at for at, node in enumerate(graph.nodes)}
    tainted = _dependent_otherwise(graph, first)
    entering = [
        source
        for node in _ancestors(graph, last, first)
        for source in node.all_input_nodes
        if source in tainted and order[source] < order[first] <= order[node]
    ]
    source = entering[0] if entering else _images(graph)
    while source.op not in ("call_module", "placeholder"):
        source = next(node for node in source.all_input_nodes if node in tainted)
    return f"what {source.target} gave out" if source.op == "call_module" else "the images' shape or value"


def _ancestors(graph: fx.Graph, last: fx.Node, first: fx.Node) -> list[fx.Node]:
    """What ``last`` is computed from, itself included, without ``first`` and what lies before it, in order."""
    needed, waiting = {last} - {first}, [last]
    while waiting:
        node = waiting.pop()
        told = node is first or (is_batch(node) and first.op != "placeholder")
        new = set() if told else set(node.all_input_nodes) - needed - {first}
        needed |= new
        waiting.extend(new)
    return [node for node in graph.nodes if node in needed]


def _protect_input(model: nn.Module, part: fx.Graph) -> None:
    """A copy of the input where the first step writes into it, as activations in place do."""
    feature = _images(part)
    if not any(_in_place(model, node) for node in feature.users):
        return
    with part.inserting_after(feature):
        clone = part.call_method("clone", (feature,))
    feature.replace_all_uses_with(clone, delete_user_cb=lambda user: user is not clone)


def _wake_dropout(module: fx.GraphModule) -> None:
    """Dropout that the forward calls as a function was traced in eval mode: as a module it follows ``train()``."""
    calls = [node for node in module.graph.nodes if node.op == "call_function" and node.target is functional.dropout]
    for number, node in enumerate(calls):
        given = inspect.signature(functional.dropout).bind(*node.args, **node.kwargs)
        name = f"dropout_{number}"
        module.add_submodule(name, nn.Dropout(given.arguments.get("p", 0.5)))
        node.op, node.target, node.args, node.kwargs = "call_module", name, (given.arguments["input"],), {}
    if calls:
        module.recompile()


def _in_place(model: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        while isinstance(module, nn.Sequential) and len(module):
            module = module[0]
        return bool(getattr(module, "inplace", False)) and not list(module.children())
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return (name.endswith("_") and not name.endswith("__")) or bool(node.kwargs.get("inplace", False))
