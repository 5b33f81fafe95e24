"""The probe on models that people bring: dropout, attention, checkpoints, wrappers, odd losses."""

import random
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from VGG_BatchNorm import probes
from VGG_BatchNorm.ground.machine import autocast
from VGG_BatchNorm.probes import activation_statistics, curvature, probe, trainable

DRAW = torch.Generator().manual_seed(0)
BATCH = torch.randn(8, 6, generator=DRAW), torch.arange(8) % 4


def perceptron(*between: nn.Module, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), *between, nn.Linear(16, 4)).train()


class Checkpointed(nn.Sequential):
    """Runs its layers but the last forward again in the backward pass."""

    def forward(self, x):
        *first, last = self
        return last(checkpoint(nn.Sequential(*first), x, use_reentrant=False))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.1, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.layer(x[:, None].repeat(1, 3, 1)).mean(1))


def everything(model: nn.Module, batch=BATCH) -> list:
    before = trainable(model)
    after = {name: 0.9 * p for name, p in before.items()}
    return [probe(model, F.cross_entropy, batch, 0.1), curvature(model, F.cross_entropy, batch),
            probes.internal_covariate_shift(model, F.cross_entropy, batch, before, after),
            activation_statistics(model, F.cross_entropy, batch),
            probes.loss_and_gradient(model, F.cross_entropy, batch, before)[0],
            probes.weight_names(model)]


def test_inference_mode_changes_nothing():
    model = perceptron(nn.Dropout(0.5), nn.ReLU())
    expected = everything(model)
    with torch.inference_mode():
        assert everything(model) == expected
        assert everything(model, [x.clone() for x in BATCH]) == expected


@pytest.mark.parametrize("between", [(nn.ReLU(),), (nn.Dropout(0.5), nn.ReLU(inplace=True))])
def test_checkpointed_layers_are_probed_as_plain_ones(between):
    model = perceptron(*between)
    assert everything(Checkpointed(*model)) == everything(model)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(nn.DataParallel(net))])
def test_the_module_inside_a_wrapper_is_probed(wrap):
    model = perceptron(nn.ReLU())
    assert everything(wrap(model)) == everything(model)


class Drawing(nn.Module):
    """Noise of three generators."""

    def forward(self, x):
        return x * (torch.rand(1) + np.random.rand() + random.random())


@pytest.mark.parametrize("noise", [nn.Dropout(0.5), Drawing()], ids=["dropout", "three kinds"])
def test_every_point_has_the_draws_of_the_next_step(noise):
    model = perceptron(noise, nn.ReLU())

    def draws() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), random.random()]

    def seed() -> None:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)

    seed()
    expected = draws()
    seed()
    found = probe(model, F.cross_entropy, BATCH, 0.1, multipliers=(1e-3, 1e-2))
    curved = curvature(model, F.cross_entropy, BATCH)
    assert draws() == expected
    assert found["distances"][1] == pytest.approx(10 * found["distances"][0], rel=0.05)
    assert found["smoothness"][0] == pytest.approx(curved["hessian_norm"], rel=0.05)
    seed()
    assert F.cross_entropy(model(BATCH[0]), BATCH[1]).item() == found["loss"]


def test_curvature_of_attention_against_finite_differences():
    model = Attention().double()
    batch = BATCH[0].double(), BATCH[1]
    exact = curvature(model, F.cross_entropy, batch)["hessian_norm"]
    small = probe(model, F.cross_entropy, batch, 1e-6)["smoothness"][1]
    assert small == pytest.approx(exact, rel=1e-3)


def test_a_model_of_two_inputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = perceptron(nn.ReLU())

        def forward(self, a, b):
            return self.net(a + b)

    model, (x, y) = Both(), BATCH
    found = probe(model, F.cross_entropy, (x / 2, x / 2, y), 0.1)
    assert found == probe(model.net, F.cross_entropy, BATCH, 0.1)


@pytest.mark.parametrize("model, loss, batch, message", [
    (perceptron(), partial(F.cross_entropy, reduction="none"), BATCH, r"one real number.*\(8,\)"),
    (perceptron(), lambda x, y: F.cross_entropy(x, y) * 1j, BATCH, "one real number.*complex64"),
    (perceptron(), lambda x, y: (x, y), BATCH, "one real number.*tuple"),
    (perceptron(), F.cross_entropy, BATCH[0], "inputs…, targets"),
    (perceptron(), F.cross_entropy, BATCH[:1], "inputs…, targets"),
    (perceptron(), F.cross_entropy, dict(zip("xy", BATCH, strict=True)), "inputs…, targets"),
    (perceptron(), lambda x, y: F.cross_entropy(x.detach(), y), BATCH, "cut off"),
    (perceptron(), torch.no_grad()(F.cross_entropy), BATCH, "cut off")])
def test_what_cannot_be_probed_is_named(model, loss, batch, message):
    for measure in (curvature, activation_statistics, lambda *args: probe(*args, 0.1)):
        with pytest.raises(ValueError, match=message) as error:
            measure(model, loss, batch)
        assert "\n" not in str(error.value)


def statistics(model: nn.Module) -> dict:
    return activation_statistics(model, F.cross_entropy, BATCH)


def test_activations_of_other_types_and_shapes():
    model = perceptron(nn.GELU(), nn.Flatten(0), nn.Sigmoid(), nn.Unflatten(0, (8, 16)))
    found = statistics(model)
    assert len(found["dead"]) == 2 and min(found["gradient_norms"]) > 0
    inside = model[0](BATCH[0]).detach().requires_grad_()
    F.cross_entropy(model[1:](inside), BATCH[1]).backward()
    assert found["gradient_norms"][0] == pytest.approx(inside.grad.norm().item(), rel=1e-4)
    assert found["quantiles"][0][2] == pytest.approx(model[0](BATCH[0]).median().item(), abs=0.1)
    batch = BATCH[0].bfloat16(), BATCH[1]
    half = activation_statistics(perceptron(nn.ReLU()).bfloat16(), F.cross_entropy, batch)
    exact = statistics(perceptron(nn.ReLU()))
    assert half["quantiles"][0] == pytest.approx(exact["quantiles"][0], abs=0.02)


def test_a_model_without_activation_layers_is_refused():
    model = perceptron()
    with pytest.raises(ValueError, match="calls no activation layer"):
        statistics(model)
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_reentrant_checkpoints_are_refused_and_not_measured_as_zero():
    class Reentrant(nn.Sequential):
        def forward(self, x):
            first, *middle, last = self
            return last(checkpoint(nn.Sequential(*middle), first(x), use_reentrant=True))

    for measure in (curvature, activation_statistics, lambda *args: probe(*args, 0.1)):
        with pytest.raises(RuntimeError, match="use_reentrant"):
            measure(Reentrant(*perceptron(nn.ReLU())), F.cross_entropy, BATCH)


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
def test_a_model_compiled_in_place_is_probed_as_it_was_written():
    model = perceptron(nn.ReLU())
    expected = everything(model)
    model.compile(backend="aot_eager")
    assert everything(model) == expected


def test_a_step_that_lacks_a_parameter_is_named():
    model = nn.DataParallel(perceptron())
    with pytest.raises(ValueError, match="the step lacks 0.weight"):
        probe(model, F.cross_entropy, BATCH, 0.1, update=dict(model.named_parameters()))


def test_autocast_that_is_off_needs_no_device_that_has_it():
    with autocast(torch.device("meta"), "float32"):
        assert torch.ones(1).dtype == torch.float32


def test_activations_behind_frozen_layers_have_gradients_too():
    model = perceptron(nn.ReLU())
    expected = statistics(model)
    model[0].requires_grad_(False)
    assert statistics(model) == expected
