"""Build the page that shows all pictures and lets you choose test images: `make gallery`, or

    python codes/gallery.py --ckpt reports/models/cifarnet.pt

Leaves reports/index.html, which opens from disk in any browser and needs no network: every figure
in reports/figures/ with its caption and the numbers behind it, test images to choose from, a loss
surface to turn, and the study's two nets step by step. Figures are linked, not held; one that is
missing is left out and named. Beside it lies network.js: the checkpoint's layers and weights, which
the page runs on a picture that its reader chooses, in a third of a second. (onnxruntime-web would
do that faster, but its smallest engine is 14 MB, and a page from disk may not fetch it.) What
is shown of the test images is measured once for a checkpoint and data, into
reports/results/gallery.npz: a minute and a half on two CPU cores, then a few seconds."""

import json
import sys
from pathlib import Path

from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from codes.documents.page import Places, build
from codes.insight import gallery
from codes.insight.exported import NotExportable, exported
from codes.insight.measured import measured, net_and_data
from VGG_BatchNorm.ground.files import FIGURES_DIR, ROOT, write_text
from VGG_BatchNorm.ground.flags import picture_parser
from VGG_BatchNorm.ground.script import run_main, user_path


def write_network(net: nn.Module, path: Path) -> None:
    """Write a net for the page, or say why the page cannot run it."""
    try:
        content = exported(net)
    except NotExportable as error:
        path.unlink(missing_ok=True)
        print(f"left out   your own image: the page cannot run {error}")
        return
    write_text(path, f"window.NETWORK={json.dumps(content, separators=(',', ':'))}\n")


def main() -> None:
    parser = picture_parser(__doc__, out=ROOT / "reports" / "index.html")
    parser.add_argument("--figures", type=user_path, default=FIGURES_DIR,
                        help="folder of the pictures")
    args = parser.parse_args()
    about, *given = net_and_data(args)
    data = measured(args.results / "gallery.npz", about, gallery.measure, *given, right=4, wrong=2,
                    neighbours=6, size=6, stride=2, steps=64)
    places = Places(args.out, args.figures, args.results)
    write_network(given[0].cpu(), places.network)
    write_text(args.out, build(places, data))
    size = args.out.stat().st_size / 2**20
    print(f"{data['about']['checkpoint']}\npage       {args.out}, {size:.1f} MiB")


if __name__ == "__main__":
    run_main(main)
