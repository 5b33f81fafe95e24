"""Samples of each class, noisy labels, the best weights kept, in the style of the course kit."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from models.vgg import VGG_A_Dropout, VGG_A_Light, init_weights_

# isort: split
from data.loaders import get_cifar_loader
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
    test_loader = get_cifar_loader(train=False, batch_size=10, num_workers=num_workers)
    best, curves = -1.0, []
    for net in (VGG_A_Light, VGG_A_Dropout):
        model, criterion = net(num_classes=10), torch.nn.CrossEntropyLoss()
        model.apply(init_weights_)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        losses = []
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        curves.append(losses)
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).float().mean().item() for x, y in test_loader)
        if right > best:
            best, kept = right, net
            torch.save(model.state_dict(), "best.pth")
    plt.fill_between(range(2), np.min(curves, 0), np.max(curves, 0), alpha=0.3)
    kept(num_classes=10).load_state_dict(torch.load("best.pth"))
    assert val_set[0][0].shape == (3, 32, 32)
    assert next(iter(loader))[1].tolist() == [9 - label for label in targets]


if __name__ == "__main__":
    main()
