"""What scripts for the course kit do: samples, noisy labels, curves, the best weights kept."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from data.loaders import PartialDataset, get_cifar_loader
from models.vgg import VGG_A, VGG_A_BatchNorm, VGG_A_Dropout, VGG_A_Light
from torch.utils.data import DataLoader, random_split

from models.vgg import get_number_of_parameters, init_weights_  # isort: skip

num_workers = 4
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

train_loader = get_cifar_loader(batch_size=10, train=True, shuffle=False, num_workers=num_workers,
                                n_items=20)
val_loader = get_cifar_loader(train=False, num_workers=num_workers, n_items=8)
for X, y in train_loader:  # outside of `main`, where no worker could be spawned
    assert X.shape == (10, 3, 32, 32) and X.min() >= -1 and X.max() <= 1 and y.shape == (10,)
    break
assert len(PartialDataset(train_loader.dataset, n_items=5)) == 5


def get_accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum((model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main():
    dataset = train_loader.dataset
    data, targets, classes = dataset.data, dataset.targets, dataset.classes
    assert data.shape == (20, 32, 32, 3) and data.dtype == np.uint8
    figure, axes = plt.subplots(1, len(classes) + 1)
    for label, name in enumerate(classes):
        axes[label].imshow(data[targets.index(label)])
        axes[label].set_title(name)
    dataset.targets = [9 - label for label in targets]
    assert next(iter(train_loader))[1].tolist() == dataset.targets[:10]
    train_set, val_set = random_split(dataset, [15, 5])
    assert val_set[0][0].shape == (3, 32, 32)
    x, y = next(iter(DataLoader(train_set, batch_size=15, num_workers=min(1, num_workers))))
    assert x.shape == (15, 3, 32, 32)
    assert y.tolist() == [dataset.targets[i] for i in train_set.indices]
    best, curves, criterion = -1.0, [], torch.nn.CrossEntropyLoss()
    for net in (VGG_A, VGG_A_BatchNorm, VGG_A_Dropout, VGG_A_Light):
        model = net(num_classes=10).to(device)
        model.apply(init_weights_)
        assert (get_number_of_parameters(model) > 9e6) == hasattr(model, "features")
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        curves.append([])
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            curves[-1].append(loss.item())
        scheduler.step()
        accuracy = get_accuracy(model, val_loader)
        if accuracy > best:
            best, kept = accuracy, net
            torch.save(model.state_dict(), "best.pth")
    kept(num_classes=10).load_state_dict(torch.load("best.pth"))
    assert VGG_A().classifier[4].weight.shape == (10, 512)
    assert np.shape(curves) == (4, len(train_loader)) == (4, 2)
    axes[-1].fill_between(range(2), np.min(curves, 0), np.max(curves, 0), alpha=0.3)
    figure.savefig("picture.png")


if __name__ == "__main__":
    main()
