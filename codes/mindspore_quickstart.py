"""Train the same small net with MindSpore and with torch: `make mindspore`, or

    .venv/bin/python codes/mindspore_quickstart.py torch
    .venv-mindspore/bin/python codes/mindspore_quickstart.py mindspore

Each framework has an environment of its own, so this script runs twice, and a file goes from the
first run to the second: runs/mindspore/torch.npz, with the weights of VGG_A_Light before and after
training, its logits of some test images, and its accuracy. The second run reads CIFAR-10 by
`mindspore.dataset.Cifar10Dataset`, from the folder of the official binary version that the first
one writes (runs/mindspore/cifar-10-batches-bin/). With torch's trained weights it must give torch's
logits, to 1e-4; then it trains from the same start, by the same recipe: SGD with momentum on
batches of 128 images, which it shuffles in another order. On two CPU cores, MindSpore 2.10 takes
1.2 seconds a step, nearly all of them for convolutions, so about nine minutes for an epoch."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from VGG_BatchNorm.ground.files import RUNS_DIR, atomic_write, read_npz, write_npz
from VGG_BatchNorm.ground.flags import flag_parser
from VGG_BatchNorm.ground.script import UserError, count, positive, run_main, user_path

BATCH_SIZE, LR, MOMENTUM, COMPARED = 128, 0.05, 0.9, 100


def write_binary_folder(train, test, folder: Path) -> None:
    """Write both splits as CIFAR-10's official binary version has them: labels and pixels."""
    from VGG_BatchNorm.ground.cifar10 import BATCHES

    parts = zip(train.images.chunk(5), train.labels.chunk(5), strict=True)
    for name, (images, labels) in zip(BATCHES, (*parts, test), strict=True):
        with atomic_write(folder / f"{name}.bin") as file:
            file.write(np.insert(images.flatten(1).numpy(), 0, labels.numpy(), axis=1).tobytes())


def report(framework: str, epochs: int, accuracy: float) -> None:
    print(f"{framework:<10} {100 * accuracy:.2f} % of the test images after {epochs} "
          f"epoch{'s' * (epochs != 1)}")


def by_torch(args) -> None:
    import torch

    from VGG_BatchNorm.ground.cifar10 import MEAN, STD, load_cifar10, normalize
    from VGG_BatchNorm.ground.predictions import accuracy, predict
    from VGG_BatchNorm.loaders import BatchLoader
    from VGG_BatchNorm.VGG import VGG_A_Light

    def weights(prefix: str) -> dict:
        return {f"{prefix}/{name}": w.detach().numpy().copy() for name, w in net.named_parameters()}

    train, test = load_cifar10(args.data_dir)
    write_binary_folder(train, test, args.out / "cifar-10-batches-bin")
    train = train.take(slice(args.n_items))
    torch.manual_seed(args.seed)
    net = VGG_A_Light()
    start = weights("start")
    optimizer = torch.optim.SGD(net.parameters(), args.lr, MOMENTUM)
    loader = BatchLoader(train, BATCH_SIZE, seed=args.seed)
    for epoch in range(args.epochs):
        for x, y in loader.epoch(epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    right = accuracy(predict(net.eval(), test), test.labels)
    with torch.no_grad():
        logits = net(normalize(test.images[:COMPARED]))
    write_npz(args.out / "torch.npz",
              {"mean": MEAN, "std": STD, "accuracy": right, "epochs": args.epochs,
               "train": len(train.labels), "test": len(test.labels)},
              start | weights("trained") | {"logits": logits})
    report("torch", args.epochs, right)


def by_mindspore(args) -> None:
    try:
        import mindspore as ms
        import mindspore.dataset as ds
        from mindspore import nn
    except ImportError:
        raise UserError("this Python has no MindSpore; `make mindspore` installs it") from None

    class Light(nn.Cell):
        """`VGG_A_Light` of VGG_BatchNorm/VGG.py; its parameters have the same names and shapes."""

        def __init__(self):
            super().__init__()
            self.stage1, self.stage2 = (nn.SequentialCell(
                nn.Conv2d(channels, out, 3, pad_mode="pad", padding=1, has_bias=True), nn.ReLU(),
                nn.MaxPool2d(2, 2)) for channels, out in ((3, 16), (16, 32)))
            self.classifier = nn.SequentialCell(
                nn.Dense(32 * 8 * 8, 128), nn.ReLU(), nn.Dense(128, 128), nn.ReLU(),
                nn.Dense(128, 10))

        def construct(self, x):
            return self.classifier(self.stage2(self.stage1(x)).flatten(start_dim=1))

    torchs = read_npz(args.out / "torch.npz")
    about = torchs["about"]
    mean, std = ([255 * value for value in about[name]] for name in ("mean", "std"))
    folder = str(args.out / "cifar-10-batches-bin")

    def batches(usage: str, size: int, number: int):
        """The first `number` images, those for training in another order at each epoch."""
        sampler = (ds.SubsetRandomSampler(range(number)) if usage == "train"
                   else ds.SequentialSampler(num_samples=number))
        data = ds.Cifar10Dataset(folder, usage, sampler=sampler)
        data = data.map([ds.vision.Normalize(mean, std), ds.vision.HWC2CHW()], "image")
        data = data.map(ds.transforms.TypeCast(ms.int32), "label")
        return data.batch(size, drop_remainder=usage == "train")

    def load(prefix: str) -> None:
        for name, parameter in net.parameters_and_names():
            parameter.set_data(ms.Tensor(torchs[f"{prefix}/{name}"]))

    def predict(data) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(net(x).asnumpy(), y.asnumpy()) for x, y in data.create_tuple_iterator()]
        return tuple(map(np.concatenate, zip(*pairs, strict=True)))

    net = Light()
    load("trained")
    compared = len(torchs["logits"])
    logits, _ = predict(batches("test", compared, compared))
    apart = abs(logits - torchs["logits"]).max()
    print(f"with torch's weights, logits differ from torch's by {apart:.1e} at most")
    if apart > 1e-4:
        raise UserError("the two networks are not the same")

    load("start")
    loss_of = nn.CrossEntropyLoss()
    optimizer = nn.Momentum(net.trainable_params(), args.lr, MOMENTUM)

    def forward(x, y):
        return loss_of(net(x), y)

    gradient = ms.value_and_grad(forward, None, optimizer.parameters)

    @ms.jit
    def step(x, y):
        loss, gradients = gradient(x, y)
        return ms.ops.depend(loss, optimizer(gradients))

    ds.config.set_seed(args.seed)
    train = batches("train", BATCH_SIZE, about["train"])
    for _ in range(args.epochs):
        for x, y in train.create_tuple_iterator():
            step(x, y)
    logits, labels = predict(batches("test", 500, about["test"]))
    report("torch", about["epochs"], about["accuracy"])
    report("MindSpore", args.epochs, (logits.argmax(1) == labels).mean())


def main() -> None:
    parser = flag_parser(__doc__, "--data-dir", "--seed")
    add = parser.add_argument
    add("framework", choices=("torch", "mindspore"))
    add("--epochs", type=count, default=1)
    add("--n-items", type=count, help="torch: only the first so many training images")
    add("--lr", type=positive, default=LR)
    add("--out", type=user_path, default=RUNS_DIR / "mindspore", help="folder between the two runs")
    args = parser.parse_args()
    {"torch": by_torch, "mindspore": by_mindspore}[args.framework](args)


if __name__ == "__main__":
    run_main(main)
