"""The page of `make gallery` from altered results: its HTML, numbers, and life in a browser."""

import base64
import contextlib
import io
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from conftest import save_net
from PIL import Image
from test_report import altered_results
from torch import nn

from codes import gallery
from codes.figures.attribution import glow, occlusion_as_large_as_image, red_and_blue
from codes.figures.registry import FIGURES
from codes.insight import gallery as chosen
from codes.insight.exported import NotExportable, exported
from codes.insight.gallery import first_right_and_surest_wrong
from codes.insight.similarity import nearest
from codes.networks import build
from codes.open_weights import restore
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CLASSES, load_cifar10, normalize
from VGG_BatchNorm.ground.files import read_npz, write_npz
from VGG_BatchNorm.ground.predictions import predict

MISSING = "patches.png"
VOID = {"meta", "link", "img", "br", "input"}


def write_figures(folder: Path) -> None:
    """Every figure but one, as a small picture; an animation of two frames."""
    for path in (folder / figure.file for figure in FIGURES if figure.file != MISSING):
        path.parent.mkdir(parents=True, exist_ok=True)
        first, second = Image.new("RGB", (90, 40), "white"), Image.new("RGB", (90, 40), "red")
        more = {"save_all": True, "append_images": [second]} if path.suffix == ".gif" else {}
        first.save(path, **more)


def write_results(folder: Path) -> None:
    """Altered results, some of them absent; loss surfaces, and bands of losses, that are known."""
    altered_results(folder)
    (folder / "robustness.npz").unlink()
    for norm, value in (("none", 1.0), ("batch", 0.5)):
        path = folder / "bn" / "full" / "pair" / f"{norm}-bfloat16-sgd-0.1-s0.npz"
        run = read_npz(path)
        write_npz(path, run.pop("about"), run | {
            name: 0 * run[name] + value for name in ("losses", "activation_dead")})
    shutil.rmtree(folder / "landscape")
    ticks = np.linspace(-1, 1, 5)
    for name, top, rows in (("plane", 0.5, 5), ("compare_plain", 20.0, 5),
                            ("compare_residual", 1.0, 2)):
        loss = 0.1 + top * (ticks**2 + (ticks[:, None] - 0.5) ** 2)
        about = {"network": "cifarnet 8, 8", "settings": {"hessian_images": 234}}
        plane = {"xs": ticks, "ys": ticks, "loss": loss[:rows]}
        write_npz(folder / "landscape" / f"{name}.npz", about, plane)


class Reader(HTMLParser):
    """Tags that are open, and what was seen of each element."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.seen, self.scripts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            name = self.seen[-1][1].get("id")
            self.scripts[name] = self.scripts.get(name, "") + data


@pytest.fixture(scope="module")
def site(tmp_path_factory, data_dir) -> SimpleNamespace:
    """The page, what it was made from, and what was printed."""
    folder = tmp_path_factory.mktemp("site")
    save_net(folder / "w.pt")
    write_figures(folder / "figures")
    write_results(folder / "results")
    page, printed = folder / "index.html", io.StringIO()
    flags = ["--ckpt", folder / "w.pt", "--data-dir", data_dir, "--device", "cpu", "--out", page,
             "--figures", folder / "figures", "--results", folder / "results"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["gallery.py", *map(str, flags)])
        gallery.main()
    text = page.read_text(encoding="utf-8")
    return SimpleNamespace(page=page, flags=flags, printed=printed.getvalue(), folder=folder,
                           text=text, reader=Reader(text))


def test_the_page_is_whole_and_needs_no_network(site):
    text, reader = site.text, site.reader
    assert not reader.open and "{{" not in text and "dog &lt;&amp;&gt;" in text
    assert [tag for tag, _ in reader.seen].count("h1") == 1
    ids = [attrs["id"] for _, attrs in reader.seen if "id" in attrs]
    assert len(ids) == len(set(ids)) and {figure.section for figure in FIGURES} <= set(ids)
    for tag, attrs in reader.seen:
        assert tag != "img" or attrs["alt"].strip()
        assert tag != "link" or attrs["href"].startswith("data:")
        for target in (attrs[name] for name in ("src", "href", "data-animation") if name in attrs):
            if target.startswith("#"):
                assert target[1:] in ids
            elif not target.startswith("data:"):
                assert (site.folder / unquote(target)).exists(), target
    assert site.page.stat().st_size < 3e6
    for number in ("80.00", "98.7", "13.6", "12.3", "5.7", "777", "7.70 ± 1.00 %"):
        assert re.search(f"<td[^>]*>{re.escape(number)}", text), number
    assert "><code>strong</code></td>" in text
    assert "**" not in re.sub("<script.*?</script>", "", text, flags=re.DOTALL)
    assert 'startOwn("network.js")' in text and (site.folder / "network.js").exists()


def test_a_figure_that_is_missing_is_named(site):
    lines = [line for line in site.printed.splitlines() if line.startswith("missing")]
    assert len(lines) == 1 and MISSING in lines[0] and "make figures" in lines[0]
    shown = [attrs["src"] for tag, attrs in site.reader.seen if tag == "img"]
    linked = sum(source.startswith("figures/") for source in shown)
    assert linked == len(FIGURES) - 2  # of the GIF, the page holds the last frame


def test_predictions_are_those_of_the_net(site, data_dir):
    test = load_cifar10(data_dir)[1]
    shares = predict(restore(load_checkpoint(site.folder / "w.pt")), test).softmax(1)
    images = json.loads(site.reader.scripts["images"])
    assert sorted(one["number"] for one in images) == list(range(60))  # all that the data has
    for one in images:
        assert one["label"] == CLASSES[test.labels[one["number"]]]
        said, share = one["shares"][0]
        assert said == CLASSES[shares[one["number"]].argmax()]
        assert share == pytest.approx(shares[one["number"]].max().item(), abs=1e-4)
        assert len(one["shares"]) == 5 and len(one["maps"]) == 3 and len(one["near"]) == 6
    names = [a["alt"] for tag, a in site.reader.seen if tag == "img" and a.get("width") == "32"]
    assert [int(name.split()[2].strip(",")) for name in names] == [one["number"] for one in images]


def test_surfaces_are_those_that_are_whole(site):
    planes = json.loads(site.reader.scripts["planes"])
    assert [plane["title"] for plane in planes] == ["CifarNet 8, 8", "small net with neither"]
    assert planes[0]["low"] == pytest.approx(0.1) and planes[0]["loss"][3][2] == pytest.approx(0.1)
    assert max(map(max, planes[1]["loss"])) == planes[1]["high"] == pytest.approx(10)  # the ceiling
    (canvas,) = (attrs for tag, attrs in site.reader.seen if tag == "canvas")
    assert canvas["role"] == "img"
    assert "lowest 0.1 nats, at 0 along direction 1 and 0.5 along" in canvas["aria-label"]
    assert len(json.loads(site.reader.scripts["colours"])) == 64


def test_the_study_step_by_step(site):
    held = json.loads(site.reader.scripts["live-numbers"])
    run = read_npz(site.folder / "results/bn/full/pair/none-bfloat16-sgd-0.1-s0.npz")
    steps = run["probe_steps"].tolist()
    assert held["steps"] == steps and held["seeds"] == 1 and len(held["layers"]) == 10
    assert [net["high"] for net in held["nets"]] == [[1.0] * len(steps), [0.5] * len(steps)]
    assert held["nets"][0]["dead"][0] == [1.0] * 10
    assert held["nets"][0]["edge_steps"] == run["fine_steps"].tolist()


def test_a_net_that_the_page_cannot_run_is_left_out(tmp_path, capsys):
    (tmp_path / "network.js").touch()
    gallery.write_network(build("vgg", configuration="A-LRN", width=0.02), tmp_path / "network.js")
    assert "left out" in capsys.readouterr().out and not (tmp_path / "network.js").exists()
    for layer in (nn.LeakyReLU(0.2), nn.ELU(2.0), nn.BatchNorm2d(3, affine=False),
                  nn.Conv2d(3, 3, 3, padding="same"), nn.Conv2d(3, 3, 3, padding=(1, 0)),
                  nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")):
        with pytest.raises(NotExportable, match=type(layer).__name__):
            exported(nn.Sequential(layer).eval())
    assert exported(nn.Sequential(nn.ReLU(inplace=True)))["layers"]
    with pytest.raises(NotExportable, match="depends on the image"):
        exported(DependsOnTheImage())


class DependsOnTheImage(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_the_second_time_it_only_reads(site, succeeds, monkeypatch):
    before = site.page.read_bytes()
    monkeypatch.setattr(chosen, "predict", None)
    succeeds(gallery, *site.flags)
    assert site.page.read_bytes() == before


def test_captions_have_the_numbers_of_the_results(site):
    text = " ".join(site.text.split())
    assert "on the first 234 images, is the curvature" in text
    assert "axes), in … severities" in text  # those are not there


def test_bad_input_is_one_line(site, refused, tmp_path):
    shutil.copytree(site.folder / "results", tmp_path / "results")
    shutil.copytree(site.folder / "figures", tmp_path / "figures")
    flags = (*site.flags, "--out", tmp_path / "i.html", "--results", tmp_path / "results",
             "--figures", tmp_path / "figures")
    for spoil, text in (("results/mistakes.json", "another shape"),
                        ("figures/samples.png", "is no picture")):
        (tmp_path / spoil).write_text("{}")
        assert text in refused(gallery, *flags)
    assert not (tmp_path / "i.html").exists()


def test_nearest_by_hand():
    features, known = torch.tensor([[2.0, 0], [0, 0.1]]), torch.tensor([[0, 9.0], [1, 1], [0.1, 0]])
    cosines, numbers = nearest(features, known, count=2)
    assert numbers.tolist() == [[2, 1], [0, 1]]
    torch.testing.assert_close(cosines, torch.tensor([[1, 0.5**0.5], [1, 0.5**0.5]]))
    assert nearest(features, known, count=9)[1].shape == (2, 3)


def test_images_are_chosen_by_the_rule():
    said = torch.tensor([0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0])
    labels = torch.tensor([0] * 8 + [1] * 3)  # two and one mistakes: images 2 and 4, and 10
    sure = torch.tensor([1.0, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1])
    logits = torch.zeros(11, 2).scatter(1, said[:, None], sure[:, None])
    chosen = first_right_and_surest_wrong(logits, labels, 4, 2)
    assert chosen.tolist() == [0, 1, 3, 5, 4, 2, 8, 9, 10]
    chosen = first_right_and_surest_wrong(logits, 1 - said, 4, 2)  # mistakes alone
    assert chosen.tolist() == [4, 2, 8, 9, 0, 1, 3, 5, 6, 7]


def test_pictures_of_attributions():
    values = np.zeros((1, 14, 14))
    values[0, 0, 0], values[0, 13, 13] = 2, -1
    picture = occlusion_as_large_as_image(red_and_blue(values, 1.0), size=6, stride=2)
    assert picture.shape == (1, 32, 32, 3)
    assert (picture[:, :2] == 255).all() and (picture[:, :, 30:] == 255).all()
    red, blue, nothing = (picture[0, place, place].tolist() for place in (2, 29, 16))
    assert red[0] > red[2] and blue[2] > blue[0] and min(nothing) > 240
    grey = np.full((1, 32, 32, 3), 100, np.uint8)
    dark = glow(grey, np.zeros((1, 4, 4), np.float32))  # nothing speaks for the class
    assert dark.shape == grey.shape and dark.max() < 60


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture
def browser(site, tmp_path):
    """The page in it; at the end no wider than a telephone, and nothing to complain of."""
    pytest.importorskip("selenium")
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("neither Chromium nor its driver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # with reduced motion, for what scrolls smoothly cannot be clicked
    flags = """headless=new no-sandbox disable-gpu no-first-run disable-background-networking
        disable-sync disable-component-update force-prefers-reduced-motion"""
    for flag in (*flags.split(), f"user-data-dir={tmp_path}/profile"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.find = lambda selector: browser.find_elements("css selector", selector)
    try:
        browser.get(site.page.as_uri())
        yield browser
        phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        browser.quit()


NETS = [("cifarnet", dict(widths=(8, 6))),
        ("cifarnet", dict(widths=(8, 6), norm="group", pool="average", residual=True,
                          activation="silu", whiten=False)),
        ("vgg", dict(configuration="C", norm="batch", width=0.05)),
        *(("cifarnet", dict(widths=(4, 4), norm="none", pool_first=1, activation=name))
          for name in ("leaky_relu", "elu", "mish", "hardswish", "tanh", "none"))]


def test_nets_in_a_browser_give_the_logits_of_torch(browser):
    run = """const [networks, pixels, done] = arguments, found = [];
        const source = document.getElementById('forward').textContent;
        const worker = new Worker(URL.createObjectURL(new Blob([source])));
        worker.onmessage = ({data}) => {
          if (found.push(data.shares) === networks.length) done(found);
        };
        for (const network of networks) {
          worker.postMessage({network});
          worker.postMessage({pixels});
        }"""
    image = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    pixels = torch.nn.functional.pad(image[0].permute(1, 2, 0), (0, 1), value=255)
    expected, written = [], []
    for name, config in NETS:
        net = build(name, **config).eval().requires_grad_(False)
        for key, values in net.state_dict().items():
            if values.is_floating_point() and values.ndim == 1:
                values.uniform_(0.5, 1.5) if "var" in key else values.normal_()
            elif values.is_floating_point():
                values.copy_(values.half())  # as it is written
        expected.append(net(normalize(image)).softmax(1)[0].tolist())
        written.append(exported(net))
    found = browser.execute_async_script(run, written, pixels.flatten().tolist())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected, 1).min() > 1e-3


def test_your_own_image_and_the_slider_in_a_browser(browser, site, data_dir, tmp_path):
    from selenium.webdriver import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    find = browser.find

    def answer_with(text: str) -> str:
        (place,) = find("#answer")
        WebDriverWait(browser, 60).until(lambda _: text in place.text)
        said = place.text
        browser.execute_script("arguments[0].textContent = ''", place)
        return said

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": "dark"}]})
    net = restore(load_checkpoint(site.folder / "w.pt"))
    image = load_cifar10(data_dir)[1].images[7]
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "mine.png")
    shares = net(normalize(image[None])).softmax(1)[0]
    find("#file")[0].send_keys(str(tmp_path / "mine.png"))
    said = f"{CLASSES[shares.argmax()]} ({100 * shares.max():.1f} %)"
    assert said in answer_with("The net says")
    bars = [bar.text.split() for bar in find("#own-bars li")]
    least = [CLASSES[shares.argmin()], f"{100 * shares.min():.1f}", "%"]
    assert len(bars) == 10 and bars[-1] == least
    assert [len(row.find_elements("css selector", "canvas")) for row in find(".maps")] == [12, 8, 8]
    drop = """const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], arguments[1]));
        const given = {dataTransfer, bubbles: true, cancelable: true};
        return ['dragover', 'drop'].map((name) =>
          document.body.dispatchEvent(new DragEvent(name, given)));"""
    large = Image.new("RGBA", (700, 300), "#0000")  # its middle square is of one colour
    large.save(tmp_path / "large.png")
    for path, text in ((tmp_path / "large.png", "The net says"), (site.page, "is no picture")):
        content = base64.b64encode(path.read_bytes()).decode()
        assert browser.execute_script(drop, content, path.name) == [False, False]  # taken
        answer_with(text)
    seen = "return [...document.querySelector('#seen canvas').getContext('2d')"
    assert set(browser.execute_script(seen + ".getImageData(0, 0, 32, 32).data]")) == {255}
    find("#take")[0].click()
    answer_with("The net says")

    (slider,) = find("#step")
    slider.send_keys(Keys.HOME)
    first, rows = find("#bands .now")[0].get_attribute("x1"), find("#live-rows tr")
    assert slider.accessible_name == "Step" and "1.00 to 1.00 0.50 to 0.50" in rows[0].text
    slider.send_keys(Keys.ARROW_RIGHT)
    assert find("#now")[0].text == "10" and "step 10" in slider.get_attribute("aria-valuetext")
    assert find("#bands .now")[0].get_attribute("x1") != first
    assert len(find("#dead rect")) == 20 and find("#edge path")
    named = find("input") + find("#live svg") + find(".maps")
    assert all(element.accessible_name for element in named)


def test_the_page_in_a_browser(browser):
    from selenium.webdriver import ActionChains, Keys

    find = browser.find

    def verdict() -> str:
        return find("#verdict")[0].text

    def pixels() -> str:
        return browser.execute_script("return document.getElementById('surface').toDataURL()")

    first = verdict()
    find(".thumb")[1].click()
    assert "The net says" in first and "The net says" in verdict() != first
    assert len(find("#bars li")) == 5 and len(find("#maps img")) == 3
    assert len(find("#near img")) == 6
    find("[data-filter=mistakes]")[0].click()
    shown = [thumb for thumb in find(".thumb") if thumb.is_displayed()]
    assert shown and all(thumb.get_attribute("data-wrong") == "yes" for thumb in shown)
    assert "a mistake" in verdict()
    find("[data-filter=all]")[0].click()
    (canvas,) = find("#surface")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})",
                           canvas)
    seen = [pixels()]
    canvas.send_keys(Keys.ARROW_LEFT)
    seen.append(pixels())
    ActionChains(browser).click_and_hold(canvas).move_by_offset(60, 20).release().perform()
    seen.append(pixels())
    find("[data-plane]")[1].click()
    seen.append(pixels())
    assert len(set(seen)) == 4
    canvas.send_keys(Keys.HOME)
    find("[data-plane]")[0].click()
    assert pixels() == seen[0]
    (play,) = find("[data-animation]")
    play.click()
    assert play.text == "Stop"
    assert all(button.accessible_name for button in find("button"))
