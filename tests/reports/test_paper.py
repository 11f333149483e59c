"""The files for a paper: true numbers, every citation answered, harmless names, and LaTeX that compiles where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.tables.comparison import fields
from reports.tables.leaderboard import leaderboard
from reports.tables.paper import bibtex, checklist, methods_paragraph, references, results_sentences
from reports.writing.paper import write_paper
from tests.reports.made_up_records import cell, failed, make_records, scores
from tests.reports.test_hostile_store import NAMES, hostile

ROOT = Path(__file__).parents[2]


def two_methods(runs=3):
    cells = [cell(variant, run=run, dataset="acdc") for variant in ("supervised", "cctr") for run in range(runs)]
    rows = []
    for i, one in enumerate(cells):
        level = 0.5 + 0.2 * (one["variant"] == "cctr") + 0.01 * (-1) ** i
        rows += scores(one, {f"c{j}": level + 0.01 * j for j in range(6)})
    return make_records([*cells, failed(variant="bcp", dataset="acdc", run=2)], rows)


def written(records, folder, margin=1.0):
    return write_paper(records, leaderboard(records), list(fields(records)), "supervised", margin, folder)


def test_sentences_hold_the_leaderboard_s_numbers_and_the_verdict():
    records = two_methods()
    board, found = leaderboard(records), list(fields(records))
    text = results_sentences(board, found, "supervised", 1.0)
    best = board.set_index("variant").loc["cctr"]
    assert rf"cctr reached a DSC of {100 * best['dsc']:.1f}\,\% (95\,\% CI {100 * best['dsc_low']:.1f} to" in text
    assert (
        "The difference was $+19.3$ points ($+13.6$ to $+25.1$): better ($p = 0.005$)" in text
        and "3 labelled cases (acdc, test, protocol quick; 6 cases, 3 runs)" in text
    )
    single = two_methods(1)
    text = results_sentences(leaderboard(single), list(fields(single)), "supervised", 1.0)
    assert "one run cannot be tested" in text and "over cases only" in text and "better" not in text
    told = methods_paragraph(records, found, 2.0)
    assert (
        r"we compared cctr~\cite{liu2025cctr}, supervised~" in told and r"No run of bcp~\cite{bai2023bcp} was finished." in told
    )
    assert "28 training and 4 validation cases" in told
    assert "3 runs (3 draws of labelled cases, 3 seeds)" in told and "within 2 DSC points" in told
    listed = checklist(records, found)
    assert "6 done, 1 failed, 0 unfinished" in listed and "data d0; protocol p0; code c0" in listed


def test_every_citation_has_its_entry_and_every_method_its_reference(tmp_path):
    files = {path.name: path.read_text() for path in written(two_methods(), tmp_path)}
    cited = {
        key
        for name in files
        if name.endswith(".tex")
        for found in re.findall(r"\\cite\{([^}]*)\}", files[name])
        for key in found.split(",")
    }
    entries = re.findall(r"^@\w+\{(\w+),", files["references.bib"], re.MULTILINE)
    assert (
        cited <= set(entries)
        and len(set(entries)) == len(entries)
        and {"bai2023bcp", "bernard2018acdc", "thisbenchmark"} <= cited
    )
    known = references()
    registered = {path.stem for path in (ROOT / "methods").glob("*.py")} | {"cctr"}
    alone = {"__init__", "method", "label_propagation", "ema_self_training"}  # no paper to cite
    assert set(known["methods"]) == registered - alone and set(known["methods"].values()) <= set(known["entries"])
    assert set(known["datasets"].values()) | set(known["always"]) <= set(known["entries"])
    used = {*known["methods"].values(), *known["datasets"].values(), *known["always"]}
    assert used == set(known["entries"])


@pytest.mark.parametrize("name", [*NAMES, "名前 ж"])
def test_names_from_records_are_no_commands(name, tmp_path):
    texts = [path.read_text() for path in written(hostile(name), tmp_path)]
    for text in texts:
        assert "\\input{/" not in text and "\\frac" not in text and all(ord(letter) < 256 for letter in text)
        bare = re.sub(r"\\[{}$&%#_]", "", text)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0


def test_the_same_records_give_the_same_bytes(tmp_path):
    first, second = (written(two_methods(), tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second] and len(first) == 5
    assert bibtex(two_methods().cells).count("@misc") == 1


@pytest.mark.parametrize("name", [None, *NAMES, "名前 ж"])
def test_it_compiles(name, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("needs pdflatex (Debian: texlive-latex-recommended)")
    written(hostile(name) if name else two_methods(), tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert said.returncode == 0 and (tmp_path / "paper.pdf").stat().st_size > 10_000, said.stdout[-2000:]
