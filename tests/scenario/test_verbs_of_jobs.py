"""Pausing, resuming, retrying, reading and clearing jobs, as users do it from a second terminal."""

import json
import os
import shlex
import shutil
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

PAUSED = 9


def show(place: Place) -> dict[str, object]:
    found: dict[str, object] = json.loads(place.nightkiln("jobs", "show", "--json").stdout)
    return found


def test_a_pause_from_a_second_terminal_is_obeyed_and_resume_asks_only_the_rest(
    place: Place, provider: Provider
) -> None:
    provider.slow(LONG_MS)
    place.environ["KEY"] = "sk-only-by-reference"
    process = place.start(*place.args("--concurrency", "4", "--key", "env:KEY"))
    until(lambda: provider.requests >= 8)
    paused = place.nightkiln("jobs", "pause", "last")
    assert paused.returncode == 0, paused.stderr
    assert "paused (paused on request)" in paused.stderr
    _, shown = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == PAUSED, shown
    asked = provider.requests
    assert asked < ROWS
    assert show(place)["standing"] == "paused"

    provider.slow(0)
    elsewhere = place.folder / "elsewhere"
    elsewhere.mkdir()
    database = b"".join(path.read_bytes() for path in (place.folder / "home").glob("*.db*"))
    assert b"sk-only-by-reference" not in database
    assert b"env:KEY" in database
    place.folder = elsewhere
    resumed = place.nightkiln("jobs", "resume", "last", "--json")
    place.folder = elsewhere.parent
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["ok"] == ROWS
    assert len(place.answers()) == ROWS
    stats = provider.stats()
    assert (stats["requests"], stats["unique_prompts"]) == (ROWS, ROWS)


def test_a_pause_survives_the_death_of_the_process_that_ran_the_job(
    place: Place, provider: Provider
) -> None:
    provider.slow(100)
    process = place.start(*place.args("--concurrency", "8"))
    until(lambda: provider.requests >= 40)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    first = place.nightkiln("jobs", "pause", "last", "--json")
    assert json.loads(first.stdout)["state"] == "paused", first.stderr
    again = place.nightkiln("jobs", "pause", "last")
    assert again.returncode == 0, again.stderr
    assert show(place)["reason"] == "paused on request"

    provider.slow(0)
    assert place.nightkiln("jobs", "resume", "last", "-q").returncode == 0
    assert len(place.answers()) == ROWS
    assert provider.requests <= ROWS + 8


def test_who_watches_a_job_does_not_take_it_over_when_it_is_paused(
    place: Place, provider: Provider
) -> None:
    provider.slow(LONG_MS)
    runner = place.start(*place.args("--concurrency", "4"))
    until(lambda: provider.requests >= 8)
    watcher = place.start(*place.args("--concurrency", "4"))
    assert watcher.stderr is not None
    while "another process runs" not in watcher.stderr.readline():
        assert watcher.poll() is None
    assert place.nightkiln("jobs", "pause", "last").returncode == 0
    for process in (runner, watcher):
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == PAUSED
    assert show(place)["state"] == "paused"
    assert provider.requests < ROWS


def test_what_is_over_can_neither_be_paused_nor_resumed_nor_cancelled(place: Place) -> None:
    assert place.run("-q").returncode == 0
    for verb in ("pause", "resume", "cancel"):
        refused = place.nightkiln("jobs", verb, "last")
        assert refused.returncode == 1, verb
        assert "error E_STATE" in refused.stderr
        assert "is succeeded" in refused.stderr
    assert show(place)["state"] == "succeeded"


def test_headers_are_asked_for_again_and_never_kept(place: Place, provider: Provider) -> None:
    provider.slow(LONG_MS)
    process = place.start(*place.args("--concurrency", "4", "--header", "X-Team=very-secret"))
    until(lambda: provider.requests >= 8)
    assert place.nightkiln("jobs", "pause", "last").returncode == 0
    process.communicate(timeout=DEADLINE_S)
    provider.slow(0)
    database = b"".join(path.read_bytes() for path in (place.folder / "home").glob("*.db*"))
    assert b"very-secret" not in database
    refused = place.nightkiln("jobs", "resume", "last")
    assert refused.returncode == 2
    assert "--header X-Team=VALUE" in refused.stderr
    given = place.nightkiln("jobs", "resume", "last", "--header", "X-Team=very-secret", "-q")
    assert given.returncode == 0, given.stderr


def test_a_retry_may_be_of_some_faults_only_and_run_at_once(
    place: Place, provider: Provider
) -> None:
    place.table(ROWS, poison=3)
    assert place.run("-q").returncode == 3
    asked = provider.requests
    none = place.nightkiln("jobs", "retry", "last", "--class", "transient")
    assert none.returncode == 2
    assert "it has: 3 permanent" in none.stderr
    unknown = place.nightkiln("jobs", "retry", "last", "--class", "transiant")
    assert "did you mean transient?" in unknown.stderr
    again = place.nightkiln(
        "jobs", "retry", "last", "--class", "permanent,transient", "--run", "--json"
    )
    assert again.returncode == 3, again.stderr
    assert json.loads(again.stdout)["failed"] == 3
    assert provider.requests == asked + 3
    assert show(place)["generation"] == 2


def test_errors_say_what_went_wrong_and_never_what_was_asked(place: Place) -> None:
    place.table(ROWS, poison=3)
    assert place.run("-q").returncode == 3
    told = place.nightkiln("jobs", "errors")
    assert told.returncode == 0, told.stderr
    assert "3 of 300 rows have a fault" in told.stdout
    for word in ("3 permanent", "e.g.", "row 0", "cause", "fix"):
        assert word in told.stdout
    listed = place.nightkiln("jobs", "errors", "last", "--rows", "2", "--json")
    report = json.loads(listed.stdout)
    assert [fault["count"] for fault in report["faults"]] == [3]
    assert [row["row"] for row in report["listed"]] == [0, 1]
    assert "__poison__" not in listed.stdout + told.stdout
    shown = place.nightkiln("jobs", "errors", "last", "--rows", "1", "--show-input")
    assert "t 0 __poison__" in shown.stdout


def test_a_table_read_while_its_job_runs_is_a_beginning_of_what_it_becomes(
    place: Place, provider: Provider
) -> None:
    provider.slow(LONG_MS)
    process = place.start(*place.args("--concurrency", "4"))

    def partly() -> list[dict[str, str]]:
        done = place.nightkiln("jobs", "results", "last", "--partial")
        return rows_of(done.stdout) if done.returncode == 0 else []

    until(lambda: bool(partly()))
    refused = place.nightkiln("jobs", "results", "last")
    assert refused.returncode == 7
    assert "--partial" in refused.stderr
    first, second = partly(), partly()
    assert second[: len(first)] == first
    assert {row["status"] for row in second} == {"ok"}
    provider.slow(0)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert place.answers()[: len(second)] == second


def test_results_may_be_of_some_rows_only_and_exports_of_any_format(place: Place) -> None:
    place.table(ROWS, poison=3)
    assert place.run("-q").returncode == 3
    bad = place.nightkiln("jobs", "results", "last", "--where", "status=error")
    assert [row["id"] for row in rows_of(bad.stdout)] == ["00000", "00001", "00002"]
    assert bad.stderr == ""
    good = place.nightkiln(
        "jobs", "results", "-o", "good.jsonl", "--where", "status=ok", "--limit", "5", "--json"
    )
    assert json.loads(good.stdout)["rows"] == 5
    assert len((place.folder / "good.jsonl").read_text().splitlines()) == 5
    none = place.nightkiln("jobs", "results", "last", "--where", "fault=transient")
    assert rows_of(none.stdout) == []
    wrong = place.nightkiln("jobs", "results", "last", "--where", "fault=transiant")
    assert (wrong.returncode, "did you mean transient?" in wrong.stderr) == (2, True)

    files = ["a.csv", "a.parquet", "whole/"]
    done = place.nightkiln("jobs", "export", "last", *files, "--json")
    assert done.returncode == 0, done.stderr
    assert [file["rows"] for file in json.loads(done.stdout)["files"]] == [ROWS] * 3
    assert (place.folder / "whole" / "_manifest.json").exists()
    refused = place.nightkiln("jobs", "export", "last", "part/", "--where", "status=ok")
    assert refused.returncode == 2


def test_old_jobs_go_when_somebody_says_so_and_what_they_spent_stays(place: Place) -> None:
    assert place.run("-q").returncode == 0
    assert place.nightkiln("jobs", "clean", "--json").stdout.startswith('{"dry_run":false')
    look = place.nightkiln("jobs", "clean", "--older-than", "0m", "--dry-run", "--json")
    (old,) = json.loads(look.stdout)["would_delete"]
    assert old["size_bytes"] > 0
    assert place.nightkiln("jobs", "clean", "--older-than", "0m").returncode == 2
    other = place.nightkiln(
        "jobs", "clean", "--older-than", "0m", "--state", "cancelled", "--yes", "--json"
    )
    assert json.loads(other.stdout)["deleted"] == []
    gone = place.nightkiln("jobs", "clean", "--older-than", "0m", "--yes", "--json")
    assert [one["job"] for one in json.loads(gone.stdout)["deleted"]] == [old["job"]]
    assert place.nightkiln("jobs", "show", "last").returncode == 7
    assert not list((place.folder / "home" / "jobs").glob("job_*"))
    assert place.nightkiln("jobs", "clean", "--older-than", "soon").returncode == 2


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts need root")
def test_jobs_can_be_read_where_nothing_can_be_written(place: Place) -> None:
    assert place.run("-q").returncode == 0
    command = [
        "mount --bind -o ro home home",
        "mount -o remount,bind,ro home",
        shlex.join([*NIGHTKILN, "jobs", "results", "last"]),
    ]
    done = place.command("unshare", "-m", "bash", "-c", " && ".join(command))
    if "mount" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert len(rows_of(done.stdout)) == ROWS, done.stderr


def test_the_first_signal_of_a_resumed_run_keeps_its_answers(
    place: Place, provider: Provider
) -> None:
    provider.slow(LONG_MS)
    process = place.start(*place.args("--concurrency", "4"))
    until(lambda: provider.requests >= 8)
    assert place.nightkiln("jobs", "pause", "last").returncode == 0
    process.communicate(timeout=DEADLINE_S)
    before = provider.requests
    resumed = place.start("jobs", "resume", "last")
    until(lambda: provider.requests >= before + 8)
    resumed.send_signal(signal.SIGINT)
    _, shown = resumed.communicate(timeout=DEADLINE_S)
    assert resumed.returncode == 130
    assert f"nightkiln jobs resume {show(place)['job']}" in shown
