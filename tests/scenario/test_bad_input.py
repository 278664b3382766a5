"""Bad input as users meet it: exit codes, what is said, the file of bad rows, what was asked."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

DEADLINE_S = 120
NIGHTKILN = [sys.executable, "-m", "nightkiln"]
LINES = [f'{{"id":{row},"text":"row {row} é"}}' for row in range(40)]
BAD = {3: "nope", 9: '{"id":8,"text":"again"}', 11: '{"id":11}', 20: '{"id":20,"text":1e999}'}
REASONS = [
    "line 4: not JSON: Expecting value at character 1",
    'line 10: the id "8" is that of line 9 already',
    'line 12: no key "text", which the prompt needs',
    "line 21: a number too large to keep",
]


class Kiln:
    """A folder with an input, a home, and a simulated provider that counts."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def run(
        self, source: str, *more: str, stdin: bytes = b"", crash_at: str = ""
    ) -> subprocess.CompletedProcess[str]:
        target = ["--endpoint", self.url, "--model", "m", "--prompt", "Say {text}"]
        armed = {"NIGHTKILN_CRASH_AT": crash_at} if crash_at else {}
        done = subprocess.run(
            [*NIGHTKILN, "run", source, *target, *more],
            cwd=self.folder,
            env={**os.environ, "NIGHTKILN_HOME": str(self.folder / "home"), **armed},
            input=stdin,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    @property
    def requests(self) -> int:
        with urlopen(self.url.replace("/v1", "/_ctl/stats"), timeout=DEADLINE_S) as response:
            return int(json.loads(response.read())["requests"])

    def rows(self, name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


@pytest.fixture
def kiln(tmp_path: Path) -> Iterator[Kiln]:
    command = [*NIGHTKILN, "simulate", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Kiln(tmp_path, process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


@pytest.fixture
def packed(kiln: Kiln) -> str:
    lines = [BAD.get(row, line) for row, line in enumerate(LINES)]
    data = "\r\n".join(lines).encode()
    (kiln.folder / "in.jsonl.gz").write_bytes(gzip.compress(data[:900]) + gzip.compress(data[900:]))
    return "in.jsonl.gz"


def test_bad_rows_keep_their_place_and_are_never_asked(kiln: Kiln, packed: str) -> None:
    arguments = [packed, "-o", "out.jsonl", "--id-column", "id", "--bad-rows", "bad.jsonl"]
    first = kiln.run(*arguments)
    assert first.returncode == 3, first.stderr
    assert first.stdout == ""
    assert "4 of 40 rows are bad and will not be asked" in first.stderr
    for reason in REASONS:
        assert f"note: {reason}" in first.stderr
    assert "36 ok, 4 failed of 40 rows" in first.stderr
    assert "4 were not asked" in first.stderr
    assert "reused" not in first.stderr
    assert kiln.requests == 36
    rows = kiln.rows("out.jsonl")
    assert [row for row, found in enumerate(rows) if found["status"] == "error"] == list(BAD)
    assert [rows[row]["fault_message"] for row in BAD] == [f"bad_row: {one}" for one in REASONS]
    bad = kiln.rows("bad.jsonl")
    assert [(one["row"], f"line {one['line']}: {one['reason']}") for one in bad] == list(
        zip(BAD, REASONS, strict=True)
    )
    assert [one["text"] for one in bad] == list(BAD.values())

    (kiln.folder / "bad.jsonl").unlink()
    again = kiln.run(*arguments, "--json")
    report = json.loads(again.stdout)
    assert (again.returncode, report["failed"], report["bad"]) == (3, 4, 4)
    assert kiln.requests == 36
    assert kiln.rows("bad.jsonl") == bad


@pytest.mark.parametrize(
    "point", ["segment.renamed:1", "journal.answered:20", "part.committed:2", "publish.linked:1"]
)
def test_bad_rows_outlast_a_death(kiln: Kiln, packed: str, point: str) -> None:
    arguments = [packed, "-o", "out.jsonl", "--id-column", "id", "--concurrency", "2"]
    died = kiln.run(*arguments, crash_at=point)
    assert died.returncode == -9, died.stderr
    done = kiln.run(*arguments, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["failed"], report["bad"]) == (3, 36, 4, 4)
    assert report["attempts"] == 36
    assert kiln.requests <= 36 + 2
    rows = kiln.rows("out.jsonl")
    assert [rows[row]["fault_message"] for row in BAD] == [f"bad_row: {one}" for one in REASONS]


def test_skipped_rows_are_in_no_output(kiln: Kiln, packed: str) -> None:
    done = kiln.run(packed, "-o", "out.csv", "--id-column", "id", "--on-bad-row", "skip")
    assert done.returncode == 0, done.stderr
    assert "succeeded: 36 ok, 4 skipped of 40 rows" in done.stderr
    assert "permanent" not in done.stderr
    assert len((kiln.folder / "out.csv").read_text().splitlines()) == 37


def test_fail_asks_nothing_and_names_what_is_wrong(kiln: Kiln, packed: str) -> None:
    arguments = ["--id-column", "id", "--on-bad-row", "fail", "--bad-rows", "bad.jsonl"]
    done = kiln.run(packed, "-o", "out.csv", *arguments)
    assert done.returncode == 2
    expected = [
        "error E_INPUT: in.jsonl.gz: 4 of 40 rows are bad",
        *(f"  {one}" for one in REASONS),
    ]
    assert "\n".join(expected) in done.stderr
    assert len(kiln.rows("bad.jsonl")) == 4
    assert kiln.requests == 0
    assert not (kiln.folder / "out.csv").exists()


def test_a_dry_run_shows_bad_rows(kiln: Kiln, packed: str) -> None:
    done = kiln.run(packed, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would ask 37 of 40 rows" in done.stdout
    assert "bad rows      3 will not be asked" in done.stdout
    assert REASONS[0] in done.stdout


def test_standard_input_is_unpacked_when_that_is_said(kiln: Kiln, packed: str) -> None:
    data = (kiln.folder / packed).read_bytes()
    done = kiln.run("-", "-o", "-", "--format", "jsonl.gz", "-q", stdin=data)
    assert done.returncode == 3, done.stderr
    assert len(done.stdout.splitlines()) == 40
    refused = kiln.run("-", "-o", "-", "--format", "jsonl", stdin=data)
    assert refused.returncode == 2
    assert "the file is gzip data, not text" in refused.stderr
    assert "say --format jsonl.gz" in refused.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_until_it_is_named(kiln: Kiln, encoding: str) -> None:
    (kiln.folder / "in.csv").write_bytes("id,text\n1,café\n".encode(encoding))
    refused = kiln.run("in.csv", "-o", "out.jsonl")
    assert refused.returncode == 2
    assert "not UTF-8: " in refused.stderr
    assert f"--encoding {encoding}" in refused.stderr
    assert kiln.requests == 0
    done = kiln.run("in.csv", "-o", "out.jsonl", "--encoding", encoding)
    assert done.returncode == 0, done.stderr
    assert kiln.rows("out.jsonl")[0]["text"] == "café"


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
    kiln: Kiln, data: bytes, message: str
) -> None:
    (kiln.folder / "in.csv").write_bytes(data)
    for policy in ("error", "skip"):
        done = kiln.run("in.csv", "-o", "out.csv", "--on-bad-row", policy)
        assert done.returncode == 2
        assert message in done.stderr
    assert kiln.requests == 0


def test_a_truncated_archive_fails_and_says_how_far_it_got(kiln: Kiln) -> None:
    whole = gzip.compress(b"".join(b'{"text":"%d"}\n' % row for row in range(300_000)))
    (kiln.folder / "in.jsonl.gz").write_bytes(whole[:-1000])
    done = kiln.run("in.jsonl.gz", "-o", "out.csv")
    assert done.returncode == 2
    assert "the gzip data ends early, after 5," in done.stderr
    assert done.stderr.count("in.jsonl.gz, line 2") == 1
    assert kiln.requests == 0


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
    kiln: Kiln, packed: str, arguments: list[str], message: str
) -> None:
    done = kiln.run(packed, "-o", "-", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
