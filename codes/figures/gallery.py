"""Pixels of the small pictures on the page of `make gallery`, from what codes/insight/gallery.py
measured.

    pixels = explanations(read_npz(results / "gallery.npz"))
"""

import numpy as np
from PIL import Image

from codes.figures.attribution import DIVERGING
from VGG_BatchNorm.ground.style import plt


def coloured(values: np.ndarray, colours: str) -> np.ndarray:
    """Return values in [0, 1] of any shape as uint8 colours (..., 3) of a matplotlib colour map."""
    return plt.get_cmap(colours)(values, bytes=True)[..., :3]


def red_and_blue(values: np.ndarray, share: float) -> np.ndarray:
    """Return values (N, h, w) as uint8 pictures (N, h, w, 3): 0 is white, red is above, blue below.

    Args:
        share: of the values of a picture; only the largest ones beyond it are cut off.
    """
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
    """Return uint8 pictures (N, S, S, 3) of integrated gradients, Grad-CAM and occlusion."""
    size, stride = (data["about"]["settings"][name] for name in ("size", "stride"))
    return [red_and_blue(data["integrated_gradients"], 0.99),
            glow(data["images"], data["grad_cam"]),
            occlusion_as_large_as_image(red_and_blue(data["occlusion"], 1.0), size, stride)]
