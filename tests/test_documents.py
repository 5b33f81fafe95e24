"""The documents name what exists, their code compiles or runs, the exercises' answers hold."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, write_data

from codes import from_scratch, optimizers, settings, studies
from codes.results.compare_results import RUN, SUMMARY
from VGG_BatchNorm import measures
from VGG_BatchNorm.ground.cifar10 import BATCH_MD5, CLASSES, MEAN, STD, load_cifar10
from VGG_BatchNorm.ground.files import RESULTS_DIR, read_csv, read_json
from VGG_BatchNorm.ground.statistics import t95, t_interval
from VGG_BatchNorm.run_files import read_study_run

PAGES = ("README.md", "MODEL_CARD.md", "EXERCISES.md", "data/README.md", "codes/README.md",
         "VGG_BatchNorm/README.md")
WORKFLOW = ".github/workflows/ci.yml"
MAKEFILE = (ROOT / "Makefile").read_text()
VERBS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, flags=re.M))
SCRIPT_OF = dict(re.findall(r"^([a-z-]+):.*\n\t(?:\$\(no-out\))?\$\(PY\) (\S+\.py)", MAKEFILE,
                            flags=re.M))
assert {"train", "compare", "bn-landscape"} <= SCRIPT_OF.keys()
NOTEBOOK = read_json(ROOT / "notebook.ipynb")
CELLS = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in NOTEBOOK["cells"]]


def text(name: str) -> str:
    """A document, lines that end in a backslash joined with the next; of the notebook all cells."""
    is_page = name != "notebook.ipynb"
    written = (ROOT / name).read_text() if is_page else "\n\n".join(source for source, _ in CELLS)
    return written.replace("\\\n", " ")


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a language, those in lists too."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text(name), flags=re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


each_document = pytest.mark.parametrize("name", [*PAGES, "notebook.ipynb", WORKFLOW])
each_page = pytest.mark.parametrize("name", PAGES)


@each_document
def test_what_is_named_exists(name):
    written = text(name)
    for path in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", written):
        assert ((ROOT / name).parent / path).exists(), path
    for path in re.findall(r"(?:codes|VGG_BatchNorm|tests)/\w+\.py", written):
        assert (ROOT / path).exists(), path
    assert set(re.findall(r"(?:^|[`!]|run: )make ([a-z-]+)", written, flags=re.M)) <= VERBS


@each_document
def test_flags_are_those_of_the_script(name):
    calls = re.findall(r"((?:codes|VGG_BatchNorm)/\w+\.py)([^`\n]*)", text(name))
    verbs = re.findall(r'make ([a-z-]+) ARGS="([^"]*)"', text(name))
    calls += [(SCRIPT_OF[verb], rest) for verb, rest in verbs if verb in SCRIPT_OF]
    for script, rest in calls:
        source = (ROOT / script).read_text()
        if "make_parser(" in source:
            text_of_help = settings.make_parser("").format_help()
            source += re.sub(r"(--[a-z][a-z0-9-]*)", r'"\1"', text_of_help)
        if "picture_parser(" in source:
            source += (ROOT / "VGG_BatchNorm/ground/flags.py").read_text()
        for flag in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest):
            known = f'"{flag.replace("--no-", "--")}"' in source or flag == "--help"
            assert known, f"{script} {flag}"


@each_page
def test_sections_that_are_linked_exist(name):
    for path, section in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", text(name)):
        page = (ROOT / name).parent / path if path else ROOT / name
        titles = re.findall(r"^#+ (.*)", page.read_text(), flags=re.M)
        titles = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert section in titles


@each_page
def test_code_on_a_page_compiles(name):
    for block in blocks(name, "python"):
        compile(block, name, "exec")


def test_the_notebook_compiles_and_has_neither_outputs_nor_logic():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) >= (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", each) for each in ids)
    for cell in NOTEBOOK["cells"]:
        made = cell.get("outputs"), cell.get("execution_count")
        assert cell["cell_type"] == "markdown" or made == ([], None)
    for source, is_code in CELLS:
        if is_code:
            compile(re.sub(r"^( *)[!%].*", r"\1pass", source, flags=re.M), "notebook.ipynb", "exec")
            assert not re.search(r"^ *(def|class) ", source, flags=re.M)


def test_the_workflow_calls_only_make():
    assert all(line.startswith("make ") for line in re.findall(r"run: (.*)", text(WORKFLOW)))


def test_the_code_of_the_model_card_runs(capsys):
    (block,) = blocks("MODEL_CARD.md", "python")
    exec(compile(block, "MODEL_CARD.md", "exec"), {})
    answer, probability = capsys.readouterr().out.split()
    assert answer in CLASSES and 0.1 <= float(probability) <= 1


def test_the_data_card_gives_the_numbers_of_the_loader():
    written = text("data/README.md")
    for number in (*BATCH_MD5, *(f"{value:.4f}" for value in (*MEAN, *STD))):
        assert number in written


def answer(start: str, module) -> dict:
    """The names of a module, and those of the block of EXERCISES.md that begins so."""
    names = dict(vars(module))
    (block,) = (block for block in blocks("EXERCISES.md", "python") if block.startswith(start))
    exec(block, names)
    return names


def test_the_study_of_the_exercises():
    base = studies.BASES["quick"]
    rows = answer("def _smoothing", studies)["_smoothing"](base)
    assert base["label_smoothing"] == float(rows[0].name) and not rows[0].changes
    assert all(row.changes == {"label_smoothing": float(row.name)} for row in rows[1:])


def test_the_pooling_of_the_exercises_equals_autograd():
    pool = answer("class AveragePool2x2", from_scratch)["AveragePool2x2"]()
    x, dy = torch.randn(2, 6, 4, 3, requires_grad=True), torch.randn(2, 3, 2, 3)
    expected = F.avg_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(pool.forward(x.detach()), expected.detach())
    torch.testing.assert_close(pool.backward(dy), torch.autograd.grad(expected, x, dy)[0])


def test_the_optimizer_of_the_exercises_by_its_formula():
    weight = torch.nn.Parameter(torch.randn(4, 2, 3, 3))
    expected, momentum = weight.detach().clone(), torch.zeros(4, 2, 3, 3)
    optimizer = answer("class Lion", optimizers)["Lion"]([weight], 0.1, weight_decay=0.5)
    for _ in range(5):
        weight.grad = torch.randn_like(weight)
        optimizer.step()
        expected -= 0.1 * ((0.9 * momentum + 0.1 * weight.grad).sign() + 0.5 * expected)
        momentum = 0.99 * momentum + 0.01 * weight.grad
        torch.testing.assert_close(weight.detach(), expected)


PRINTED = re.findall(r"^```python\n((?:(?!```)[^\n]*\n)*)```\n```text\n(.*?)^```",
                     text("EXERCISES.md"), re.M | re.S)
EDGE, HORIZON, _ = (code for code, _ in PRINTED)


@pytest.mark.parametrize("code, printed", PRINTED, ids=["edge", "horizon", "range"])
def test_an_answer_prints_what_stands_below_it(code, printed, capsys):
    exec(code, {})
    assert capsys.readouterr().out == printed


WHOLE = [(name, block) for name in ("VGG_BatchNorm/README.md", "EXERCISES.md")
         for block in blocks(name, "python")
         if block.startswith(("import ", "from ")) and block not in dict(PRINTED)]


@pytest.mark.parametrize("name, block", WHOLE, ids=[name for name, _ in WHOLE])
def test_a_script_on_a_page_runs_on_few_images(tmp_path, monkeypatch, capsys, name, block):
    monkeypatch.setattr(load_cifar10, "__defaults__", (write_data(tmp_path, per_batch=12),))
    try:
        exec(compile(block.replace("128", "16"), name, "exec"), {})
    finally:
        torch.set_default_dtype(torch.float32)
    assert capsys.readouterr().out


def test_the_edge_of_the_exercises_is_that_of_the_study():
    exec(EDGE, names := {})
    found = {norm: [] for norm in ("none", "batch")}
    for norm, medians in found.items():
        for seed in range(5):
            run = read_study_run(RESULTS_DIR / f"bn/full/pair/{norm}-bfloat16-sgd-0.1-s{seed}.npz")
            medians.append(np.median(names["edge"](run, 1 / 16)))
            assert medians[-1] == pytest.approx(measures.edge_median(run), rel=1e-3)
    mean, half = t_interval(np.subtract(found["batch"], found["none"]))
    assert mean > half  # as the answer says


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_the_seeds_of_the_exercises_are_the_fewest_that_do(rho):
    exec(HORIZON, names := {})
    n = names["seeds_needed"](0.5, 0.4, rho)
    halves = []
    for count in (n - 1, n):  # differences that deviate by just 0.4 √(2 (1 − ρ))
        values = np.arange(count) * 1.0
        values *= 0.4 * (2 * (1 - rho)) ** 0.5 / values.std(ddof=1)
        halves.append(t_interval(values)[1])
    assert halves[0] > 0.5 >= halves[1]


def test_what_the_exercises_quote_is_in_the_files():
    written = " ".join(text("EXERCISES.md").split())
    quick = RESULTS_DIR / "compare/quick"
    (cost,) = (-row["difference"] for row in read_csv(quick / "summary.csv", SUMMARY)
               if row["variant"] == "with CutMix")
    log = read_csv(RESULTS_DIR / "cifarnet/log.csv", {"accuracy": float})
    for quoted in (f"CutMix {cost:.1f} points",
                   f"{100 * log[-1]['accuracy']:.0f} % of the training images are right",
                   f"for three seeds is {t95(2):.1f}, for ten {t95(9):.1f}"):
        assert quoted in written
    assert read_json(RESULTS_DIR / "cifarnet/result.json")["preset"] == "strong"
    assert (studies.BASES["quick"]["epochs"], len(log)) == (4, 11)
    assert all(row["train_accuracy"] < row["validation_accuracy"]
               for row in read_csv(quick / "runs.csv", RUN) if row["changes"] == "{}")


def test_the_variants_of_the_exercises_exist():
    calls = re.findall(r'--study (\w+) --variants "([^"]+)" --base (\w+)', text("EXERCISES.md"))
    assert calls
    for study, name, base in calls:
        assert name in {row.name for row in studies.variants(study, studies.BASES[base], {})}


PLANTED = re.findall(r"^```diff\n(.*?)^```.*?<details>(.*?)</details>", text("EXERCISES.md"),
                     re.M | re.S)


@pytest.mark.skipif(not shutil.which("git"), reason="git applies the patches")
@pytest.mark.parametrize("patch, found_by", PLANTED, ids=["first", "second"])
def test_a_planted_mistake_fails_the_tests_that_its_answer_names(tmp_path, patch, found_by):
    shutil.copytree(ROOT / "VGG_BatchNorm", tmp_path / "VGG_BatchNorm")
    for name in ("conftest.py", "test_probes.py"):
        (tmp_path / "tests").mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    subprocess.run(["git", "apply", "-"], input=patch, text=True, cwd=tmp_path, check=True)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rf", "tests/test_probes.py"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    failed = set(re.findall(r"^FAILED \S*::(\w+)", done.stdout, flags=re.M))
    assert failed == set(re.findall(r"`(test_\w+)`", found_by)), done.stdout
