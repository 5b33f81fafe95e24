"""Drawings of which pixels made a network say what it says: codes/insight/attribution.py.

    pixels = explanations(read_npz(results / "gallery.npz"))  # small pictures, for the page"""

import numpy as np
from PIL import Image

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.style import plt

DIVERGING = "RdBu_r"


def coloured(values: np.ndarray, colours: str) -> np.ndarray:
    """Return values in [0, 1] of any shape as uint8 colours (..., 3) of a matplotlib colour map."""
    return plt.get_cmap(colours)(values, bytes=True)[..., :3]


def red_and_blue(values: np.ndarray, share: float) -> np.ndarray:
    """Return values (N, h, w) as uint8 pictures (N, h, w, 3): 0 is white, red is above, blue below.
    `share`: of the values of a picture; only the largest ones beyond it are cut off."""
    limits = np.quantile(abs(values), share, axis=(1, 2), keepdims=True).clip(1e-12)
    return coloured(values / limits / 2 + 0.5, DIVERGING)


def glow(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return maps (N, h, w) ≥ 0, each on its own scale, blurred over uint8 images (N, S, S, 3)."""
    size = images.shape[2], images.shape[1]
    maps = np.stack([Image.fromarray(one).resize(size, Image.Resampling.BILINEAR) for one in maps])
    maps = maps / maps.max((1, 2), keepdims=True).clip(1e-12)
    return (0.4 * images.mean(3, keepdims=True) + 0.6 * coloured(maps, "inferno")).astype(np.uint8)


def occlusion_as_large_as_image(squares: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Return occlusion's pictures (N, rows, columns, 3) as large as the image: an entry lies at the
    middle of its square, `size` pixels wide and moved by `stride`; the margin is white."""
    margin = (size - stride) // 2
    whole = squares.repeat(stride, 1).repeat(stride, 2)
    return np.pad(whole, ((0, 0), (margin, margin), (margin, margin), (0, 0)), constant_values=255)


def explanations(data: dict) -> list[np.ndarray]:
    """Return uint8 pictures (N, S, S, 3) of Grad-CAM, integrated gradients and occlusion."""
    size, stride = (data["about"]["settings"][name] for name in ("size", "stride"))
    return [glow(data["images"], data["grad_cam"]),
            red_and_blue(data["integrated_gradients"], 0.99),
            occlusion_as_large_as_image(red_and_blue(data["occlusion"], 1.0), size, stride)]


def draw_row(axes, data: dict, pictures: list[np.ndarray], i: int) -> None:
    """Draw image number `i` of the data and its three explanations."""
    for axis, some in zip(axes, (data["images"], *pictures), strict=True):
        axis.imshow(some[i])
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="#999999", linewidth=0.6)
        axis.set_axis_on()
    label, said = CLASSES[data["labels"][i]], CLASSES[data["said"][i]]
    words = label if said == label else f"{label},\nsaid {said}"
    axes[0].text(-0.08, 0.5, f"{words}\n{100 * data['confidence'][i]:.0f} %",
                 transform=axes[0].transAxes, ha="right", va="center")


def draw_attribution(data: dict) -> plt.Figure:
    """Which pixels speak for the class that the net said. A row a class: left the test image of
    this class that it gets right with the most confidence, right its most confident mistake; the
    classes are those whose mistakes are the most confident. Beside the image: its class, what the
    net said if that is another, and its probability. All of this is chosen by that rule, one view
    an image. Grad-CAM (Selvaraju et al. 2017), bright: the maps behind the last convolution,
    weighted by what they add to the logit, negative sums cut off, and blurred, as they have few
    pixels. CifarNet ends in global max pooling and a linear layer: a map's weight is then its
    weight in the head whatever the image, and of all that is bright in a map, only its brightest
    pixel has entered the logit. Integrated gradients (Sundararajan et al. 2017): what each pixel
    adds to the logit, summed over the colours, on the way from the mean colour to the image.
    Occlusion (Zeiler & Fergus 2014): by how much the logit falls when the mean colour covers the
    {size}×{size} pixels around a point; no such point lies in the white margin. Red speaks for the
    class, blue against it; each picture has its own scale, on which the largest hundredth of the
    integrated gradients is cut off. None of them says what the net would need to see to say
    something else, and a patch of the mean colour is not a natural image either."""
    rows, pictures = len(data["numbers"]) // 2, explanations(data)
    figure = plt.figure(figsize=(9.4, 1.2 + 0.95 * rows))
    for side, half in enumerate(figure.subfigures(1, 2, wspace=0.04)):
        axes = half.subplots(rows, 4, squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, title in zip(axes[0], ("image", "Grad-CAM", "integrated\ngradients", "occlusion"),
                               strict=True):
            axis.set_title(title, fontsize=11)
        for row, line in enumerate(axes):
            if data["numbers"][2 * row + side] >= 0:
                draw_row(line, data, pictures, 2 * row + side)
        colours = plt.cm.ScalarMappable(norm=plt.Normalize(-1, 1), cmap=DIVERGING)
        bar = half.colorbar(colours, ax=list(axes.flat), location="bottom", shrink=0.8, aspect=50)
        bar.set_ticks([-1, 0, 1], labels=["against what it said", "0", "for it"])
        titles = "the most confident right answer of a class", "its most confident mistake"
        half.suptitle(titles[side], fontsize=11)
    return figure
