"""The page of `make gallery` from made-up results: its HTML, numbers, and life in a browser."""

import contextlib
import io
import json
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
from test_scripts import RESULT

from codes import gallery
from codes.figures.gallery import glow, in_place, red_and_blue
from codes.figures.registry import FIGURES
from codes.insight import gallery as chosen
from codes.insight.gallery import choose_images
from codes.insight.similarity import nearest
from codes.networks import restore
from VGG_BatchNorm.ground.checkpoint import load_checkpoint
from VGG_BatchNorm.ground.cifar10 import CLASSES, load_cifar10
from VGG_BatchNorm.ground.files import write_csv, write_json, write_npz
from VGG_BatchNorm.ground.predictions import predict

MISSING = "patches.png"
VOID = {"meta", "link", "img", "br"}


def write_figures(folder: Path) -> None:
    """Every figure but one, as a small picture; an animation of two frames."""
    for path in (folder / figure.file for figure in FIGURES if figure.file != MISSING):
        path.parent.mkdir(parents=True, exist_ok=True)
        first, second = Image.new("RGB", (90, 40), "white"), Image.new("RGB", (90, 40), "red")
        more = {"save_all": True, "append_images": [second]} if path.suffix == ".gif" else {}
        first.save(path, **more)


def write_results(folder: Path) -> None:
    write_csv(folder / "runs.csv", [RESULT, RESULT | {"seed": 1}])
    write_json(folder / "evaluation.json",
               {"accuracy_by_class_six_views": dict.fromkeys(CLASSES, 0.875)})
    by_class = {name: {"accuracy": 0.75, "look_alikes": 41} for name in CLASSES}
    mistake = {"true": "cat", "said": "dog <&>", "images": 63}
    errors = {"one view": 0.123, "six views": 0.234}
    write_json(folder / "mistakes.json", {"most_frequent_mistakes": [mistake], "by_class": by_class,
                                          "calibration_error": errors})
    attacks = {"epsilons": [0.0, 0.5], "attacks": {"FGSM": [0.9, 0.321]}}
    write_json(folder / "robustness.json",
               attacks | {"clean": 0.9, "corruptions": {"fog": [0.8, 0.7]}})
    row = {"study": "widths", "variant": "× 1", "changes": "{}", "n": 3, "failures": 0,
           "accuracy": 82.5, "deviation": 0.1, "difference": 0.0, "uncertainty": "", "p": "",
           "clear": False, "tries": 0,
           "edge": False, "parameters": 1000, "flops": 10**12, "seconds": 9.0}
    write_csv(folder / "compare" / "quick" / "summary.csv", [row])
    ticks = np.linspace(-1, 1, 5)
    for name, top, rows in (("plane", 0.5, 5), ("compare_plain", 20.0, 5),
                            ("compare_residual", 1.0, 2)):
        loss = 0.1 + top * (ticks**2 + (ticks[:, None] - 0.5) ** 2)
        about = {"network": "cifarnet 8, 8", "settings": {"hessian_images": 234}}
        plane = {"xs": ticks, "ys": ticks, "loss": loss[:rows]}
        write_npz(folder / "landscape" / f"{name}.npz", about, plane)


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
    return SimpleNamespace(page=page, flags=flags, printed=printed.getvalue(), folder=folder)


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


def test_the_page_is_whole_and_needs_no_network(site):
    text = site.page.read_text(encoding="utf-8")
    reader = Reader(text)
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
    for number in ("82.50", "87.5", "12.3", "32.1", "41", "6.00 ± 0.00 %"):
        assert f"<td>{number}" in text, number
    assert "<td><code>strong</code></td>" in text and "**" not in text


def test_a_figure_that_is_missing_is_named(site):
    lines = [line for line in site.printed.splitlines() if line.startswith("missing")]
    assert len(lines) == 1 and MISSING in lines[0] and "make figures" in lines[0]
    seen = Reader(site.page.read_text(encoding="utf-8")).seen
    linked = [a["src"] for tag, a in seen if tag == "img" and a["src"].startswith("figures/")]
    assert len(linked) == len(FIGURES) - 2  # of the GIF, the page holds the last frame


def test_predictions_are_those_of_the_net(site, data_dir):
    test = load_cifar10(data_dir)[1]
    shares = predict(restore(load_checkpoint(site.folder / "w.pt")), test).softmax(1)
    reader = Reader(site.page.read_text(encoding="utf-8"))
    images = json.loads(reader.scripts["images"])
    assert sorted(one["number"] for one in images) == list(range(60))  # all that the data has
    for one in images:
        assert one["label"] == CLASSES[test.labels[one["number"]]]
        said, share = one["shares"][0]
        assert said == CLASSES[shares[one["number"]].argmax()]
        assert share == pytest.approx(shares[one["number"]].max().item(), abs=1e-4)
        assert len(one["shares"]) == 5 and len(one["maps"]) == 3 and len(one["near"]) == 6
    names = [a["alt"] for tag, a in reader.seen if tag == "img" and a.get("width") == "32"]
    assert [int(name.split()[2].strip(",")) for name in names] == [one["number"] for one in images]


def test_surfaces_are_those_that_are_whole(site):
    reader = Reader(site.page.read_text(encoding="utf-8"))
    planes = json.loads(reader.scripts["planes"])
    assert [plane["title"] for plane in planes] == ["CifarNet 8, 8", "small net with neither"]
    assert planes[0]["low"] == pytest.approx(0.1) and planes[0]["loss"][3][2] == pytest.approx(0.1)
    assert max(map(max, planes[1]["loss"])) == planes[1]["high"] == pytest.approx(10)  # the ceiling
    (canvas,) = (attrs for tag, attrs in reader.seen if tag == "canvas")
    assert canvas["role"] == "img"
    assert "lowest 0.1 nats, at 0 along direction 1 and 0.5 along" in canvas["aria-label"]
    assert len(json.loads(reader.scripts["colours"])) == 64


def test_the_second_time_it_only_reads(site, call, monkeypatch):
    before = site.page.read_bytes()
    monkeypatch.setattr(chosen, "predict", None)
    assert call(gallery, *site.flags)[0] == 0 and site.page.read_bytes() == before
    redraw = (*site.flags, "--redraw", "--ckpt", site.folder / "no.pt", "--data-dir", site.folder)
    assert call(gallery, *redraw)[0] == 0 and site.page.read_bytes() == before


def test_captions_have_the_numbers_of_the_results(site):
    text = " ".join(site.page.read_text(encoding="utf-8").split())
    assert "on the first 234 images, is the curvature" in text
    assert "axes), in … severities" in text  # those are not there


def test_bad_input_is_one_line(site, refused, tmp_path):
    shutil.copytree(site.folder / "results", tmp_path / "results")
    shutil.copytree(site.folder / "figures", tmp_path / "figures")
    flags = (*site.flags, "--out", tmp_path / "i.html", "--results", tmp_path / "results",
             "--figures", tmp_path / "figures")
    (tmp_path / "bad.pt").write_bytes(b"x" * 100)
    for spoil, text in ((None, "damaged"), ("results/mistakes.json", "another shape"),
                        ("figures/samples.png", "is no picture")):
        if spoil:
            (tmp_path / spoil).write_text("{}")
        given = flags if spoil else (*flags, "--ckpt", tmp_path / "bad.pt")
        assert text in refused(gallery, *given)
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
    assert choose_images(logits, labels, 4, 2).tolist() == [0, 1, 3, 5, 4, 2, 8, 9, 10]
    # mistakes alone
    assert choose_images(logits, 1 - said, 4, 2).tolist() == [4, 2, 8, 9, 0, 1, 3, 5, 6, 7]


def test_pictures_of_attributions():
    values = np.zeros((1, 14, 14))
    values[0, 0, 0], values[0, 13, 13] = 2, -1
    picture = in_place(red_and_blue(values, 1.0), size=6, stride=2)
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
    browser.get(site.page.as_uri())
    yield browser
    browser.quit()


def test_the_page_in_a_browser(browser):
    from selenium.webdriver import ActionChains, Keys

    def find(selector: str) -> list:
        return browser.find_elements("css selector", selector)

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
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
