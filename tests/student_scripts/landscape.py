"""The band of losses over learning rates, in the style of the course kit: no function `main`."""

import random

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from data.loaders import PartialDataset, get_cifar_loader
from models.vgg import VGG_A, VGG_A_BatchNorm, get_number_of_parameters
from torch import nn

batch_size = 8
num_workers = 4
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

train_loader = get_cifar_loader(batch_size=batch_size, train=True, num_workers=num_workers,
                                n_items=16)
val_loader = get_cifar_loader(batch_size=batch_size, train=False, shuffle=False,
                              num_workers=num_workers, n_items=10)
for X, y in train_loader:
    assert X.shape == (8, 3, 32, 32) and X.min() >= -1 and X.max() <= 1 and y.shape == (8,)
    break
assert len(PartialDataset(train_loader.dataset, n_items=5)) == 5


def set_random_seeds(seed_value=0):
    np.random.seed(seed_value)
    torch.manual_seed(seed_value)
    random.seed(seed_value)


def get_accuracy(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
    return right / len(loader.dataset)


def train(model, optimizer, criterion, train_loader, val_loader, epochs_n=1):
    losses = []
    for _ in range(epochs_n):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x.to(device)), y.to(device))
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
        assert 0 <= get_accuracy(model, val_loader) <= 1
    return losses


for net, colour in ((VGG_A, "green"), (VGG_A_BatchNorm, "red")):
    curves = []
    for lr in (1e-3, 1e-4):
        set_random_seeds(2020)
        model = net().to(device)
        assert get_number_of_parameters(model) > 9e6
        assert model.classifier[4].weight.shape == (10, 512)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        curves.append(train(model, optimizer, nn.CrossEntropyLoss(), train_loader, val_loader))
    assert np.shape(curves) == (2, len(train_loader)) == (2, 2)
    min_curve, max_curve = np.min(curves, axis=0), np.max(curves, axis=0)
    plt.fill_between(range(len(min_curve)), min_curve, max_curve, color=colour, alpha=0.3)
plt.savefig("picture.png")
