"""Bad input as users meet it: exit codes, what is said, the file of bad rows, what was asked."""

import gzip
import json

import pytest
from tests.scenario.place import Place, Provider

LINES = [f'{{"id":{row},"text":"row {row} é"}}' for row in range(40)]
BAD = {3: "nope", 9: '{"id":8,"text":"again"}', 11: '{"id":11}', 20: '{"id":20,"text":1e999}'}
REASONS = [
    "line 4: not JSON: Expecting value at character 1",
    'line 10: the id "8" is that of line 9 already',
    'line 12: no key "text", which the prompt needs',
    "line 21: a number too large to keep",
]


@pytest.fixture
def packed(place: Place) -> str:
    lines = [BAD.get(row, line) for row, line in enumerate(LINES)]
    data = "\r\n".join(lines).encode()
    (place.folder / "in.jsonl.gz").write_bytes(
        gzip.compress(data[:900]) + gzip.compress(data[900:])
    )
    return "in.jsonl.gz"


@pytest.mark.parametrize(
    ("delimiter", "says"),
    [
        (";", "seems to be separated by ';': --delimiter ';' reads it so"),
        ("\t", "seems to be separated by tabs: --delimiter '\\t' reads it so"),
        ("|", "seems to be separated by '|': --delimiter '|' reads it so"),
    ],
)
def test_a_table_of_another_delimiter_is_taken_as_it_is_and_said(
    place: Place, provider: Provider, delimiter: str, says: str
) -> None:
    table = "id,text\n" + "".join(f"{row},t {row}\n" for row in range(5))
    (place.folder / "in.csv").write_text(table.replace(",", delimiter))
    target = ["in.csv", "--endpoint", place.url, "--model", "m", "-o", "out.csv"]
    planned = place.nightkiln("run", *target, "--dry-run")
    assert f"in.csv {says}" in planned.stdout
    done = place.nightkiln("run", *target)
    assert done.returncode == 0, done.stderr
    assert f"note: in.csv {says}" in done.stderr
    assert next(iter(place.answers()[0])) == f"id{delimiter}text"
    missing = place.run()
    assert missing.returncode == 2
    assert f"note: in.csv {says}" in missing.stderr
    shown = "\\t" if delimiter == "\t" else delimiter
    right = place.run("--delimiter", shown)
    assert right.returncode == 0, right.stderr
    assert "seems to be" not in right.stderr
    assert [row["text"] for row in place.answers()] == [f"t {row}" for row in range(5)]


def test_bad_rows_keep_their_place_and_are_never_asked(
    place: Place, provider: Provider, packed: str
) -> None:
    arguments = place.args(
        "--id-column", "id", "--bad-rows", "bad.jsonl", source=packed, output="out.jsonl"
    )
    first = place.nightkiln(*arguments)
    assert first.returncode == 3, first.stderr
    assert first.stdout == ""
    assert "4 of 40 rows are bad and will not be asked" in first.stderr
    for reason in REASONS:
        assert f"note: {reason}" in first.stderr
    assert "36 ok, 4 failed of 40 rows" in first.stderr
    assert "4 were not asked" in first.stderr
    assert "reused" not in first.stderr
    assert provider.requests == 36
    rows = place.lines("out.jsonl")
    assert [row for row, found in enumerate(rows) if found["status"] == "error"] == list(BAD)
    assert [rows[row]["fault_message"] for row in BAD] == [f"bad_row: {one}" for one in REASONS]
    bad = place.lines("bad.jsonl")
    assert [(one["row"], f"line {one['line']}: {one['reason']}") for one in bad] == list(
        zip(BAD, REASONS, strict=True)
    )
    assert [one["text"] for one in bad] == list(BAD.values())

    (place.folder / "bad.jsonl").unlink()
    again = place.nightkiln(*arguments, "--json")
    report = json.loads(again.stdout)
    assert (again.returncode, report["failed"], report["bad"]) == (3, 4, 4)
    assert provider.requests == 36
    assert place.lines("bad.jsonl") == bad


@pytest.mark.parametrize(
    "point", ["segment.renamed:1", "journal.answered:20", "part.committed:2", "publish.linked:1"]
)
def test_bad_rows_outlast_a_death(
    place: Place, provider: Provider, packed: str, point: str
) -> None:
    more = ("--id-column", "id", "--concurrency", "2")
    arguments = place.args(*more, source=packed, output="out.jsonl")
    died = place.nightkiln(*arguments, NIGHTKILN_CRASH_AT=point)
    assert died.returncode == -9, died.stderr
    done = place.nightkiln(*arguments, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["failed"], report["bad"]) == (3, 36, 4, 4)
    assert report["attempts"] == 36
    assert provider.requests <= 36 + 2
    rows = place.lines("out.jsonl")
    assert [rows[row]["fault_message"] for row in BAD] == [f"bad_row: {one}" for one in REASONS]


def test_skipped_rows_are_in_no_output(place: Place, packed: str) -> None:
    done = place.run("--id-column", "id", "--on-bad-row", "skip", source=packed)
    assert done.returncode == 0, done.stderr
    assert "succeeded: 36 ok, 4 skipped of 40 rows" in done.stderr
    assert "permanent" not in done.stderr
    assert len((place.folder / "out.csv").read_text().splitlines()) == 37


def test_fail_asks_nothing_and_names_what_is_wrong(
    place: Place, provider: Provider, packed: str
) -> None:
    arguments = ["--id-column", "id", "--on-bad-row", "fail", "--bad-rows", "bad.jsonl"]
    done = place.run(*arguments, source=packed)
    assert done.returncode == 2
    expected = [
        "error E_INPUT: in.jsonl.gz: 4 of 40 rows are bad",
        *(f"  {one}" for one in REASONS),
    ]
    assert "\n".join(expected) in done.stderr
    assert len(place.lines("bad.jsonl")) == 4
    assert provider.requests == 0
    assert not (place.folder / "out.csv").exists()


def test_a_dry_run_shows_bad_rows(place: Place, packed: str) -> None:
    done = place.run("--dry-run", source=packed)
    assert done.returncode == 0, done.stderr
    assert "would ask 37 of 40 rows" in done.stdout
    assert "bad rows      3 will not be asked" in done.stdout
    assert REASONS[0] in done.stdout


def test_standard_input_is_unpacked_when_that_is_said(place: Place, packed: str) -> None:
    data = (place.folder / packed).read_bytes()
    done = place.run("--format", "jsonl.gz", "-q", source="-", output="-", stdin=data)
    assert done.returncode == 3, done.stderr
    assert len(done.stdout.splitlines()) == 40
    refused = place.run("--format", "jsonl", source="-", output="-", stdin=data)
    assert refused.returncode == 2
    assert "the file is gzip data, not text" in refused.stderr
    assert "say --format jsonl.gz" in refused.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_until_it_is_named(
    place: Place, provider: Provider, encoding: str
) -> None:
    (place.folder / "in.csv").write_bytes("id,text\n1,café\n".encode(encoding))
    refused = place.run(output="out.jsonl")
    assert refused.returncode == 2
    assert "not UTF-8: " in refused.stderr
    assert f"--encoding {encoding}" in refused.stderr
    assert provider.requests == 0
    done = place.run("--encoding", encoding, output="out.jsonl")
    assert done.returncode == 0, done.stderr
    assert place.lines("out.jsonl")[0]["text"] == "café"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "in.csv: the file is empty"),
        (b"text\n", "in.csv has no rows"),
        (b"text,text\n1,2\n", 'in.csv, line 1: the header names "text" more than once'),
        (b"t\n1\n", 'the prompt names the column "text", which is not in the input'),
        (b'text\n"open\n1\n2\n', "in.csv: no row can be used"),
    ],
)
def test_what_is_wrong_with_the_whole_file_always_fails(
    place: Place, provider: Provider, data: bytes, message: str
) -> None:
    (place.folder / "in.csv").write_bytes(data)
    for policy in ("error", "skip"):
        done = place.run("--on-bad-row", policy)
        assert done.returncode == 2
        assert message in done.stderr
    assert provider.requests == 0


def test_a_truncated_archive_fails_and_says_how_far_it_got(
    place: Place, provider: Provider
) -> None:
    whole = gzip.compress(b"".join(b'{"text":"%d"}\n' % row for row in range(300_000)))
    (place.folder / "in.jsonl.gz").write_bytes(whole[:-1000])
    done = place.run(source="in.jsonl.gz")
    assert done.returncode == 2
    assert "the gzip data ends early, after 5," in done.stderr
    assert done.stderr.count("in.jsonl.gz, line 2") == 1
    assert provider.requests == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bad-rows", "nowhere/bad.jsonl"], "--bad-rows nowhere/bad.jsonl cannot be written"),
        (["--bad-rows", "in.jsonl.gz"], "--bad-rows in.jsonl.gz is the input or the output"),
        (["--bad-rows", "-"], "-o and --bad-rows cannot both be standard output"),
        (["--encoding", "klingon"], 'there is no encoding "klingon"'),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything(
    place: Place, packed: str, arguments: list[str], message: str
) -> None:
    done = place.run(*arguments, source=packed, output="-")
    assert done.returncode == 2
    assert message in done.stderr


def test_bad_rows_keep_what_could_be_read_and_the_words_fit_them(place: Place) -> None:
    (place.folder / "in.csv").write_text("id,text\n7,a\n8\n")
    planned = place.run("--dry-run", "--bad-rows", "bad.jsonl")
    assert "--dry-run writes nothing, so no bad.jsonl; the run itself does" in planned.stdout
    assert not (place.folder / "bad.jsonl").exists()
    done = place.run()
    assert done.returncode == 3
    assert "fix: mend these rows in the input; --bad-rows FILE writes all of them" in done.stderr
    assert "--max-tokens" not in done.stderr
    assert [(row["id"], row["status"]) for row in place.answers()] == [("7", "ok"), ("8", "error")]
    again = place.nightkiln("jobs", "resume", "last")
    assert "--run asks its rows without a result again" in again.stderr


def test_a_job_without_a_row_to_ask_is_not_sent_to_retry(place: Place) -> None:
    (place.folder / "in.csv").write_text("id,text\n7,a\n")
    assert place.run().returncode == 0
    again = place.nightkiln("jobs", "resume", "last")
    assert "fix: every row has its answer: nightkiln jobs results job_" in again.stderr
    assert "retry" not in again.stderr
