"""A network as a list of layers that the page of `make gallery` runs in the browser.

    exported(net)["layers"]    # [{"kind": "conv", "weight": {…}, …, "from": [0]}, …]

The list follows from the net's own forward pass, which torch.fx traces: value 0 is the normalised
image, value k what layer k − 1 gives, the last one the logits. What it may hold is what
codes/documents/forward.js can do. Matrices and filters are float16, as in the shipped checkpoint,
vectors float32."""

import base64
import operator
import re
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, fx, nn

from codes.networks import ACTIVATIONS
from VGG_BatchNorm.ground.cifar10 import MEAN, STD
from VGG_BatchNorm.ground.classes import CLASSES


class NotExportable(Exception):
    """The network does something that the page cannot. Its text says what."""


def packed(values: Tensor) -> dict:
    """Return an array as base64 of its little-endian bytes, under the name of its type."""
    name, kind = ("half", "<f2") if values.ndim > 1 else ("single", "<f4")
    return {name: base64.b64encode(values.numpy().astype(kind).tobytes()).decode()}


def _weights(layer: nn.Conv2d | nn.Linear) -> dict:
    bias = {} if layer.bias is None else {"bias": packed(layer.bias)}
    return {"weight": packed(layer.weight), **bias}


def convolution(layer: nn.Conv2d) -> dict:
    if ((layer.stride, layer.dilation, layer.groups) != ((1, 1), (1, 1), 1)
            or layer.padding_mode != "zeros" or layer.padding not in ((0, 0), (1, 1))):
        raise NotExportable(f"the layer {layer}")
    return {"kind": "conv", "shape": list(layer.weight.shape), "padding": layer.padding[0],
            **_weights(layer)}


def linear(layer: nn.Linear) -> dict:
    return {"kind": "conv", "shape": [*layer.weight.shape, 1, 1], "padding": 0, **_weights(layer)}


def batch_norm(layer: nn.BatchNorm2d) -> dict:
    if layer.weight is None or layer.running_var is None:
        raise NotExportable(f"the layer {layer}")
    scale = layer.weight * (layer.running_var + layer.eps).rsqrt()
    return {"kind": "affine", "weight": packed(scale),
            "bias": packed(layer.bias - layer.running_mean * scale)}


def group_norm(layer: nn.GroupNorm) -> dict:
    if layer.weight is None:
        raise NotExportable(f"the layer {layer}")
    return {"kind": "group", "groups": layer.num_groups, "eps": layer.eps,
            "weight": packed(layer.weight), "bias": packed(layer.bias)}


def pool(layer: nn.MaxPool2d | nn.AvgPool2d) -> dict:
    if (layer.kernel_size, layer.stride, layer.padding) != (2, 2, 0):
        raise NotExportable(f"the layer {layer}")
    return {"kind": "largest" if isinstance(layer, nn.MaxPool2d) else "mean"}


def activation(layer: nn.Module) -> dict:
    ours, default = (re.sub(",? ?inplace=True", "", str(one)) for one in (layer, type(layer)()))
    if ours != default:  # of another slope, say
        raise NotExportable(f"the layer {layer}")
    return {"kind": "activation", "name": type(layer).__name__.lower()}


NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in evaluation
LAYERS: dict[type, Callable[[nn.Module], dict]] = {
    nn.Conv2d: convolution, nn.Linear: linear, nn.BatchNorm2d: batch_norm,
    nn.GroupNorm: group_norm, nn.MaxPool2d: pool, nn.AvgPool2d: pool,
    **{kind: activation for kind in ACTIVATIONS.values() if kind is not nn.Identity}}


class Tracer(fx.Tracer):
    """Takes subclasses of the known layers whole, however they compute."""

    def is_leaf_module(self, layer: nn.Module, name: str) -> bool:
        return isinstance(layer, (*LAYERS, *NOTHING)) or super().is_leaf_module(layer, name)


def layer_of(node: fx.Node, net: nn.Module) -> dict | None:
    """Return what a step of the forward pass is, without weights' names; None: it does nothing.
    Raises NotExportable: it is none of what the page knows."""
    given = (*node.args[1:], *node.kwargs.values())
    if node.op == "call_module":
        module = net.get_submodule(node.target)
        if isinstance(module, NOTHING):
            return None
        for kind, export in LAYERS.items():
            if isinstance(module, kind):
                return export(module)
    elif node.target is F.pad and given[1] == "replicate" and given[0][::2] == (0, 0):
        return {"kind": "repeat", "right": given[0][1], "below": given[0][3]}
    elif node.target is operator.add and isinstance(given[0], fx.Node):
        return {"kind": "add"}
    elif node.target is operator.mul and isinstance(given[0], float):
        return {"kind": "scale", "factor": given[0]}
    elif (node.target, given) == ("amax", ((2, 3),)):
        return {"kind": "peak"}
    elif (node.target, given) == ("flatten", (1,)):
        return {"kind": "flatten"}
    raise NotExportable(f"the step {node.format_node()}")


def exported(net: nn.Module) -> dict:
    """Return the layers of a net in evaluation mode, on the CPU, and what they need of an image.
    Raises NotExportable: the net has a layer or a step that the page does not know."""
    net = net.requires_grad_(False)
    try:
        graph = Tracer().trace(net)
    except fx.proxy.TraceError as error:
        raise NotExportable(f"its path depends on the image: {error}") from None
    place, layers = {}, []
    for node in graph.nodes:
        if node.op == "placeholder":
            place[node] = 0
        elif node.op != "output":
            layer, sources = layer_of(node, net), [place[each] for each in node.all_input_nodes]
            if layer:
                layers.append(layer | {"from": sources})
            place[node] = len(layers) if layer else sources[0]
    return {"classes": CLASSES, "mean": MEAN, "std": STD, "layers": layers}
