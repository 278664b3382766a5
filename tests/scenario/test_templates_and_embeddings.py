"""`run` with a Jinja template, and with an embedding model of one's own, as users run it."""

import csv
import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from tests.scenario.place import Place

ENCODER = Path(__file__).parents[1] / "contract" / "engines" / "tiny_encoder.py"


@pytest.fixture(name="place")
def a_place_where_nobody_answers(tmp_path: Path) -> Place:
    return Place(tmp_path, "http://127.0.0.1:9/v1")


@pytest.fixture
def tiny_encoder() -> ModuleType:
    for package in ("openvino", "tokenizers"):
        pytest.importorskip(package, reason='needs pip install "nightkiln[local]"')
    spec = spec_from_file_location("nightkiln_tests_tiny_encoder", ENCODER)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(folder: Path, rows: int) -> None:
    with (folder / "in.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["n", "text"])
        writer.writerows([n, f"order {n} aus München 東京"] for n in range(rows))


def test_texts_become_vectors_row_by_row(place: Place, tiny_encoder: ModuleType) -> None:
    import numpy as np

    model = tiny_encoder.write_encoder(place.folder / "model", pooling=None)
    table(place.folder, 120)
    with (place.folder / "in.csv").open("a") as out:
        out.write(f"120,{'box ' * 100}\n")
    arguments = ["run", "in.csv", "--column", "text", "--task", "embed", "-o", "out.jsonl"]
    done = place.nightkiln(*arguments, "--model", "./model")
    assert done.returncode == 3, done.stderr
    assert "their mean is taken" in done.stderr
    rows = place.lines()
    assert len(rows) == 121
    assert rows[120]["fault_message"].startswith("context_length_exceeded")
    reference = tiny_encoder.Reference(model)
    for row in rows[:120]:
        vector = np.array(json.loads(row["answer"]))
        expected = reference.embed(row["text"])
        assert float(vector @ expected) > 0.99  # bf16, where the processor has it
        assert row["input_tokens"] == reference.tokens(row["text"])
        assert row["finish_reason"] == "stop"

    again = place.nightkiln(*arguments)
    assert again.returncode == 2
    assert "the pilot makes no embeddings" in again.stderr


def test_a_template_is_shown_and_checked_before_anything_is_asked(place: Place) -> None:
    table(place.folder, 40)
    text = "Order {{ n }}:\n{% if n|int == 7 %}{{ 1 / 0 }}{% endif %}\n{{ text }}\n"
    (place.folder / "ask.jinja").write_text(text)
    target = ["--endpoint", place.url, "--model", "m", "--dry-run"]
    planned = place.nightkiln("run", "in.csv", "--template", "ask.jinja", *target, "--json")
    assert planned.returncode == 0, planned.stderr
    assert "Order 0:\\norder 0 aus München 東京" in planned.stdout

    failed = ["--template", "ask.jinja", "--on-bad-row", "fail"]
    refused = place.nightkiln("run", "in.csv", *failed, *target)
    assert refused.returncode == 2
    assert "line 9: the template, line 2: division by zero" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ txt }}", 'did you mean "text"?'),
        ("\n{{ text", "the template, line 2"),
        ("{% include 'secrets' %}", "other templates"),
    ],
)
def test_a_template_that_cannot_work_is_refused(place: Place, text: str, said: str) -> None:
    table(place.folder, 3)
    (place.folder / "ask.jinja").write_text(text)
    target = ["--endpoint", place.url, "--model", "m"]
    refused = place.nightkiln("run", "in.csv", "--template", "ask.jinja", *target)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_a_template_that_cannot_be_read_is_named(place: Place) -> None:
    table(place.folder, 3)
    (place.folder / "latin.jinja").write_bytes("Grüße {{ text }}".encode("latin-1"))
    for name, said in (("none.jinja", "cannot be read"), ("latin.jinja", "not UTF-8 at byte 2")):
        refused = place.nightkiln("run", "in.csv", "--template", name)
        assert refused.returncode == 2
        assert said in refused.stderr
