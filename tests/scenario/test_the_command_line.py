"""The command as users run it: real processes, a real home, the real simulated provider."""

import json
import shlex
import signal

import pytest
from tests.scenario.place import (
    DEADLINE_S,
    LONG_MS,
    NIGHTKILN,
    ROWS,
    Place,
    Provider,
    rows_of,
    until,
)

pytestmark = pytest.mark.usefixtures("table")


def test_a_table_is_answered_and_the_same_command_again_costs_nothing(
    place: Place, provider: Provider
) -> None:
    first = place.run()
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert f"succeeded: {ROWS} ok of {ROWS} rows" in first.stderr
    assert [row["id"] for row in place.answers()] == [f"{row:05d}" for row in range(ROWS)]
    asked = provider.requests
    (place.folder / "out.csv").unlink()

    again = place.run()
    assert again.returncode == 0
    assert "nothing is asked, $0" in again.stderr
    assert provider.requests == asked
    assert len(place.answers()) == ROWS


def test_standard_output_carries_the_table_and_nothing_else(place: Place) -> None:
    table = (place.folder / "in.csv").read_text()
    done = place.run("--format", "csv", "--json", source="-", output="-", stdin=table)
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert [row["status"] for row in rows] == ["ok"] * ROWS
    report = json.loads(done.stderr.splitlines()[-1])
    assert (report["state"], report["ok"], report["exit_code"]) == ("succeeded", ROWS, 0)


@pytest.mark.parametrize(("row", "code"), [("b,c,1,2,3,4,5,6,7,8,9", 3), ("", 0)])
def test_a_reader_that_leaves_hides_no_row_that_failed(place: Place, row: str, code: int) -> None:
    head, first, *_ = (place.folder / "in.csv").read_text().splitlines()
    (place.folder / "in.csv").write_text(f"{head}\n{first}\n{row}\n")
    done = place.unread(*place.args("--format", "csv", output="-"))
    assert done.returncode == code, done.stderr
    assert "1 ok" in done.stderr


def test_json_is_one_object_on_standard_output(place: Place) -> None:
    done = place.run("--json")
    assert json.loads(done.stdout)["output"] == "out.csv"


def test_quiet_says_nothing(place: Place) -> None:
    done = place.run("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_a_terminal_there_are_no_escapes(place: Place) -> None:
    done = place.run()
    shown = done.stdout + done.stderr + place.nightkiln("jobs", "list").stdout
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_row_errors_end_with_three_and_can_be_allowed(place: Place) -> None:
    place.table(ROWS, poison=3)
    done = place.run()
    assert done.returncode == 3
    assert "3 permanent, e.g. row 0:" in done.stderr
    assert "fix:" in done.stderr
    assert [row["status"] for row in place.answers()].count("ok") == ROWS - 3
    assert place.run("--allow-errors", "3").returncode == 0
    assert place.run("--allow-errors", "1%").returncode == 0
    assert place.run("--allow-errors", "2").returncode == 3


def test_a_refused_key_ends_with_five(place: Place, provider: Provider) -> None:
    provider.configure(api_key="right")
    place.environ["KEY"] = "sk-wrong-secret"
    done = place.run("--key", "env:KEY")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == "  more: nightkiln explain E_AUTH"
    assert "sk-wrong-secret" not in done.stderr
    place.environ["KEY"] = "right"
    assert place.run("--key", "env:KEY").returncode == 0


def test_a_server_that_is_not_there_ends_with_eight(place: Place) -> None:
    place.url = "http://127.0.0.1:9/v1"
    done = place.run("--json")
    assert done.returncode == 8
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "E_UNREACHABLE"


def test_a_missing_column_is_refused_before_anything_is_sent(
    place: Place, provider: Provider
) -> None:
    done = place.nightkiln(*place.args()[:-2], "--prompt", "Say {body}")
    assert done.returncode == 2
    assert "body" in done.stderr
    assert '"id", "text"' in done.stderr
    assert provider.requests == 0


def test_a_dry_run_sends_nothing(place: Place, provider: Provider) -> None:
    done = place.run("--dry-run")
    assert done.returncode == 0
    assert f"would ask {ROWS} of {ROWS} rows; nothing was sent" in done.stdout
    assert "Say t 0" in done.stdout
    assert provider.requests == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_a_signal_keeps_the_answers_and_the_same_command_goes_on(
    place: Place, provider: Provider, number: signal.Signals, code: int
) -> None:
    provider.slow(100)
    process = place.start(*place.args("--concurrency", "8"))
    until(lambda: provider.requests >= 40)
    process.send_signal(number)
    _, shown = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert shown.count("stopping:") == 1
    assert f"nightkiln {shlex.join(place.args('--concurrency', '8'))}" in shown
    assert not (place.folder / "out.csv").exists()

    provider.slow(0)
    again = place.run("--concurrency", "8")
    assert again.returncode == 0
    assert "goes on" in again.stderr
    assert "reused, $0" in again.stderr
    assert provider.requests == ROWS


def test_the_second_ctrl_c_leaves_at_once(place: Place, provider: Provider) -> None:
    provider.slow(60000)
    process = place.start(*place.args())
    assert process.stderr is not None
    until(lambda: provider.requests >= 1)
    process.send_signal(signal.SIGINT)
    while "stopping" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    process.communicate()


def test_jobs_can_be_looked_after_from_a_second_terminal(place: Place, provider: Provider) -> None:
    provider.slow(LONG_MS)
    process = place.start(*place.args("--concurrency", "4"))
    until(lambda: provider.requests >= 20)

    listed = json.loads(place.nightkiln("jobs", "list", "--json").stdout)["jobs"]
    assert [(job["standing"], job["running"]) for job in listed] == [("running", True)]
    watcher = place.start("jobs", "watch")
    assert watcher.stderr is not None
    assert "running" in watcher.stderr.readline()
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=DEADLINE_S)
    assert watcher.returncode == 130

    job = listed[0]["job"]
    cancelled = place.nightkiln("jobs", "cancel", job)
    assert cancelled.returncode == 0, cancelled.stderr
    assert "answers are kept" in cancelled.stderr
    _, shown = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4
    assert shown.count("cancelled") >= 1

    shown_job = json.loads(place.nightkiln("jobs", "show", job, "--json").stdout)
    assert shown_job["state"] == "cancelled"
    table = place.nightkiln("jobs", "results", "last").stdout
    assert len(rows_of(table)) == ROWS

    refused = place.nightkiln("jobs", "delete", job)
    assert refused.returncode == 2
    assert f"nightkiln jobs delete {job} --yes" in refused.stderr
    assert place.nightkiln("jobs", "delete", job, "--yes").returncode == 0
    assert place.nightkiln("jobs", "show", job).returncode == 7
    assert json.loads(place.nightkiln("jobs", "list", "--json").stdout) == {"jobs": []}


def test_a_job_may_be_named_by_the_beginning_of_its_id(place: Place) -> None:
    job = json.loads(place.run("--json").stdout)["job"]
    shown = place.nightkiln("jobs", "show", job[:-4])
    assert shown.stdout.startswith(f"job {job}\n"), shown.stderr


def test_a_reader_that_has_enough_ends_the_export_quietly(place: Place) -> None:
    place.table(5000)
    assert place.run("-q").returncode == 0
    command = shlex.join([*NIGHTKILN, "jobs", "results", "last"])
    done = place.command("bash", "-c", f"{command} | head -2; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_waiting_long_enough_ends_with_nine(place: Place, provider: Provider) -> None:
    provider.slow(20)
    process = place.start(*place.args("--concurrency", "2", "--wait", "0.5"))
    until(lambda: provider.requests >= 10)
    provider.configure(api_key="changed")
    _, shown = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 9, shown
    assert "error E_WAIT" in shown
