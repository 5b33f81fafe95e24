"""Samples of each class, and noisy labels, by the attributes that torchvision's CIFAR10 has."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from data.loaders import get_cifar_loader
from models.vgg import VGG_A
from torch.utils.data import DataLoader, random_split

num_workers = 4


def main():
    loader = get_cifar_loader(num_workers=num_workers, shuffle=False, n_items=40)
    data, targets, classes = loader.dataset.data, loader.dataset.targets, loader.dataset.classes
    assert data.shape == (40, 32, 32, 3) and data.dtype == np.uint8
    figure, axes = plt.subplots(1, len(classes))
    for label, name in enumerate(classes):
        axes[label].imshow(data[targets.index(label)])
        axes[label].set_title(name)
    figure.savefig("picture.png")
    loader.dataset.targets = [9 - label for label in targets]
    train_set, val_set = random_split(loader.dataset, [30, 10])
    train_loader = DataLoader(train_set, batch_size=15, num_workers=min(1, num_workers))
    model, criterion = VGG_A(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    band = np.array([losses, losses])
    plt.fill_between(range(len(losses)), band.min(0), band.max(0))
    assert len(losses) == 2 and val_set[0][0].shape == (3, 32, 32)
    assert next(iter(loader))[1].tolist() == [9 - label for label in targets]


if __name__ == "__main__":
    main()
