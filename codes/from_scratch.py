"""A convolutional network in plain tensor algebra: no autograd, no torch.nn.

    python codes/from_scratch.py

Every layer has `forward`, which keeps what it will need, and `backward`, which takes the gradient
of the loss in the layer's output, leaves that of its weights in `.grad`, and returns that of its
input: the chain rule, one layer at a time. The weights are trained by our own SGD. Images are
(N, H, W, C). Trains on all 50,000 training images, reads the test set once, and adds a row for the
seed to reports/results/from_scratch.csv, or replaces it; name another file with --out for trials.
"""

import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.optimizers import SGD
from codes.results.presets import SCRATCH_RUN
from codes.schedule import schedule
from VGG_BatchNorm.ground.cifar10 import Split, load_cifar10, normalize
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv, write_csv
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.machine import environment, use_device
from VGG_BatchNorm.ground.script import UserError, count, positive, run_main, user_path
from VGG_BatchNorm.loaders import BatchLoader


class Linear:
    """(N, inputs) to (N, outputs): y = x W + b."""

    def __init__(self, inputs: int, outputs: int):
        self.weight = torch.randn(inputs, outputs) * (2 / inputs) ** 0.5  # He et al. 2015, for ReLU
        self.bias = torch.zeros(outputs)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return torch.addmm(self.bias, x, self.weight)

    def backward(self, dy: Tensor) -> Tensor:
        self.weight.grad = self.x.T @ dy  # dL/dW = xᵀ dL/dy
        self.bias.grad = dy.sum(0)
        return dy @ self.weight.T  # dL/dx = dL/dy Wᵀ


class Conv3x3(Linear):
    """(N, H, W, inputs) to (N, H, W, outputs): a `Linear` on each pixel's 3×3 neighbourhood."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(9 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = self.shape = x.shape
        padded = x.new_zeros(n, height + 2, width + 2, channels)
        padded[:, 1:-1, 1:-1] = x
        patches = torch.cat([padded[window] for window in self.windows()], dim=3)
        return super().forward(patches.view(-1, 9 * channels)).view(n, height, width, -1)

    def backward(self, dy: Tensor) -> Tensor:
        n, height, width, channels = self.shape
        d_patches = super().backward(dy.flatten(0, 2)).view(n, height, width, 9, channels)
        padded = dy.new_zeros(n, height + 2, width + 2, channels)
        for i, window in enumerate(self.windows()):  # a pixel is in nine patches, which add up
            padded[window] += d_patches[:, :, :, i]
        return padded[:, 1:-1, 1:-1]

    def windows(self) -> list[tuple[slice, slice, slice]]:
        """Return where in the padded image each of the nine taps meets the pixels."""
        _, height, width, _ = self.shape
        return [(slice(None), slice(i, i + height), slice(j, j + width))
                for i in range(3) for j in range(3)]


class MaxPool2x2:
    """(N, H, W, C) to (N, H/2, W/2, C): the largest of four; it alone gets the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = self.shape = x.shape
        fours = x.view(n, height // 2, 2, width // 2, 2, channels).transpose(2, 3)
        largest, self.which = fours.flatten(3, 4).max(3, keepdim=True)
        return largest.squeeze(3)

    def backward(self, dy: Tensor) -> Tensor:
        n, height, width, channels = self.shape
        fours = dy.new_zeros(n, height // 2, width // 2, 4, channels)
        fours.scatter_(3, self.which, dy.unsqueeze(3))
        return fours.unflatten(3, (2, 2)).transpose(2, 3).reshape(self.shape)


class ReLU:
    """max(x, 0); the gradient passes where x > 0."""

    def forward(self, x: Tensor) -> Tensor:
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy: Tensor) -> Tensor:
        return dy * self.positive


class Flatten:
    """(N, H, W, C) to (N, H·W·C)."""

    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy: Tensor) -> Tensor:
        return dy.view(self.shape)


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss of logits (N, C), and its gradient: (softmax − one-hot) / N."""
    log_p = logits - logits.logsumexp(1, keepdim=True)
    rows = torch.arange(len(labels), device=labels.device)
    gradient = log_p.exp()
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].mean(), gradient / len(labels)


class Network:
    """Three times convolution – pool – ReLU, then two fully-connected layers."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128), hidden: int = 256, size: int = 32):
        self.layers, channels = [], 3
        for width in widths:
            self.layers += [Conv3x3(channels, width), MaxPool2x2(), ReLU()]
            channels, size = width, size // 2
        self.layers += [Flatten(), Linear(size**2 * channels, hidden), ReLU(), Linear(hidden, 10)]

    def parameters(self) -> list[Tensor]:
        return [p for layer in self.layers if isinstance(layer, Linear)
                for p in (layer.weight, layer.bias)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: Tensor) -> None:
        for layer in reversed(self.layers):
            dy = layer.backward(dy)


def accuracy(net: Network, split: Split) -> float:
    said = [net.forward(normalize(images).permute(0, 2, 3, 1)).argmax(1)
            for images in split.images.split(1000)]
    return (torch.cat(said) == split.labels).sum().item() / len(split.labels)


def train(net: Network, loader: BatchLoader, epochs: int, lr: float) -> None:
    optimizer = SGD(net.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * len(loader)
    for epoch in range(epochs):
        total = 0.0
        for step, (x, labels) in enumerate(loader.epoch(epoch), epoch * len(loader)):
            loss, gradient = cross_entropy(net.forward(x.permute(0, 2, 3, 1)), labels)
            net.backward(gradient)
            optimizer.param_groups[0]["lr"] = lr * schedule(step, steps, warmup=0.1)
            optimizer.step()
            total += loss.item()
            if not math.isfinite(total):
                raise UserError(f"the loss is not finite at step {step}; try a lower --lr")
        print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}", flush=True)


def runs_so_far(path: Path, **recipe) -> list[dict]:
    """Return the rows of the file. Raises UserError: it is damaged, or has a row of another
    `recipe`: columns and what they hold."""
    rows = read_csv(path, SCRATCH_RUN)
    for row in rows:
        for name, value in recipe.items():
            if row.get(name) != value:
                raise UserError(f"{path} holds a run with {name} {row.get(name)}, not {value}; "
                                "name another file with --out")
    return rows


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir", "--seed")
    add = parser.add_argument
    add("--epochs", type=int, choices=range(1, 1001), metavar="N", default=4)
    add("--batch-size", type=count, default=128)
    add("--lr", type=positive, default=0.05)
    add("--n-items", type=count, help="only the first so many training images")
    add("--out", type=user_path, default=RESULTS_DIR / "from_scratch.csv")
    args = parser.parse_args()
    device = use_device("cpu")
    images, test = load_cifar10(args.data_dir)
    images = images.take(slice(args.n_items))
    recipe = dict(images=len(images.labels), epochs=args.epochs, batch_size=args.batch_size,
                  lr=args.lr)
    runs_so_far(args.out, **recipe)  # before the training, which would be lost
    torch.manual_seed(args.seed)
    net = Network()
    loader = BatchLoader(images, args.batch_size, flip="random", translate=2, seed=args.seed)
    start = time.perf_counter()
    train(net, loader, args.epochs, args.lr)
    seconds = round(time.perf_counter() - start, 1)
    row = dict(seed=args.seed, test_accuracy=accuracy(net, test), **recipe, seconds=seconds,
               parameters=sum(p.numel() for p in net.parameters()), **environment(device))
    others = [one for one in runs_so_far(args.out, **recipe) if one["seed"] != args.seed]
    write_csv(args.out, sorted([*others, row], key=lambda row: row["seed"]))
    print(f"test accuracy {100 * row['test_accuracy']:.2f} % after {seconds:.0f} s; {args.out}")


if __name__ == "__main__":
    run_main(main)
