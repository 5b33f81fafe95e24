"""The Makefile, by any `make` and shell tools: its list, and what it calls."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import ROOT

TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def make(*args, **environment) -> subprocess.CompletedProcess:
    own = {name: value for name, value in os.environ.items()
           if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *map(str, args)], cwd=ROOT, capture_output=True, text=True,
                          check=False, env=own | environment)  # as if no make ran these tests


@needs_make
def test_the_list_has_every_verb_in_columns():
    verbs = re.search(r"^\.PHONY: (.*)", TEXT, flags=re.M)[1].split()
    head, *lines = make("help").stdout.splitlines()
    lists = [line for line in lines if re.match(r"  [a-z-]+ ", line)]
    assert "ARGS" in head and [line.split()[0] for line in lists] == verbs
    assert all(line[15] == " " and line[16] != " " for line in lists)


@needs_make
def test_the_comparison_of_the_two_nets_keeps_the_flags_that_are_given():
    asked = make("-n", "bn-compare", "ARGS=--preset evening").stdout
    assert "VGG_Loss_Landscape.py --groups pair rates --preset evening\n" in asked


@needs_make
@pytest.mark.parametrize("verb", ["compare", "bn-landscape", "bn-compare"])
def test_another_folder_is_refused_where_a_second_script_would_not_know_of_it(verb):
    done = make("-n", verb, "ARGS=--out runs/again")
    assert done.returncode == 2 and 'README says under "Commands"' in done.stderr


def test_an_environment_may_be_moved():
    """Of the programs in it, python alone is called: the first line of others names a folder."""
    assert set(re.findall(r"\$\(VENV\S*\)/bin/(\w+)", TEXT)) == {"python"}
    assert "venv/bin/" not in re.sub(r"venv\S*/bin/python", "", (ROOT / "README.md").read_text(
        encoding="utf-8"))


FAKE_PYTHON = """#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) [ "$PIP_USER" = 0 ] && [ -z "$PIP_TARGET$PIP_PREFIX" ] ;;
esac
"""


@needs_make
def test_a_users_own_settings_of_pip_do_no_harm(tmp_path):
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    done = make("venv", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", PIP_USER="1",
                PIP_TARGET="elsewhere", PIP_PREFIX="elsewhere")
    assert done.returncode == 0 and (tmp_path / "venv" / ".installed").exists(), done.stderr
