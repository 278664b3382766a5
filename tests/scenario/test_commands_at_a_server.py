"""Commands while a server owns the home, or one is named: the same words, the same ends."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenario.place import DEADLINE_S, Place, Provider, until
from tests.scenario.test_serve import key_of, serving

ROWS = 30


@pytest.fixture
def here(tmp_path: Path, provider: Provider) -> Iterator[Place]:
    with Place(tmp_path, provider.url) as place:
        place.table(ROWS)
        yield place


def test_run_and_the_verbs_of_jobs_ask_the_server_that_owns_the_home(
    here: Place, provider: Provider
) -> None:
    with serving(here):
        guess = here.nightkiln("estimate", "in.csv", *here.target, "--json")
        assert json.loads(guess.stdout)["forecast"]["rows"] == ROWS, guess.stderr
        done = here.run()
        assert done.returncode == 0, done.stderr
        assert len(here.answers()) == ROWS
        assert provider.requests == ROWS

        again = here.run(output="again.csv")
        assert again.returncode == 0, again.stderr
        assert here.answers("again.csv") == here.answers()
        assert provider.requests == ROWS

        (listed,) = json.loads(here.nightkiln("jobs", "list", "--json").stdout)["jobs"]
        job = listed["job"]
        assert listed["state"] == "succeeded"
        shown = here.nightkiln("jobs", "show", job[:-2])
        assert job in shown.stdout, shown.stderr
        table = here.nightkiln("jobs", "results", job, "--limit", "2", "-o", "few.jsonl")
        assert "2 rows are in few.jsonl" in table.stderr
        assert len(here.lines("few.jsonl")) == 2
        left = here.unread("jobs", "results", job, "-o", "-")
        assert (left.returncode, left.stderr) == (0, "")
        assert "no row has a fault" in here.nightkiln("jobs", "errors", job).stdout
        assert here.nightkiln("jobs", "pause", job).returncode == 1
        assert here.nightkiln("jobs", "delete", job, "--yes").returncode == 0
        assert here.nightkiln("jobs", "show", job).returncode == 7


def test_a_job_with_row_errors_ends_the_same_and_is_retried(here: Place) -> None:
    here.table(ROWS, poison=2)
    with serving(here):
        done = here.run()
        assert done.returncode == 3, done.stderr
        assert "permanent" in done.stderr
        errors = here.nightkiln("jobs", "errors", "last", "--rows", "5")
        assert "row 1" in errors.stdout
        opened = here.nightkiln("jobs", "retry", "last")
        assert opened.returncode == 0, opened.stderr
        assert "generation 2" in opened.stderr


def test_ctrl_c_detaches_and_the_job_goes_on(here: Place, provider: Provider) -> None:
    provider.slow(200)
    with serving(here):
        process = here.start(*here.args("--concurrency", "2"))
        until(lambda: provider.requests >= 4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130
        assert "no longer watching" in err
        assert "nightkiln run" in err  # the command that goes on with it
        provider.slow(0)
        watched = here.nightkiln("jobs", "watch", "last")
        assert watched.returncode == 0, watched.stderr
        assert here.run().returncode == 0
        assert provider.asked_more_than_once == 0


def test_jobs_are_paused_resumed_and_cancelled_at_the_server(
    here: Place, provider: Provider
) -> None:
    provider.slow(200)
    here.table(10 * ROWS)
    with serving(here):
        process = here.start(*here.args("--concurrency", "2"))
        until(lambda: provider.requests >= 4)
        assert here.nightkiln("jobs", "pause", "last").returncode == 0
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 9
        before = provider.requests
        going = here.start("jobs", "resume", "last")
        until(lambda: provider.requests > before + 2)
        cancelled = here.nightkiln("jobs", "cancel", "last")
        assert cancelled.returncode == 0, cancelled.stderr
        going.communicate(timeout=DEADLINE_S)
        assert going.returncode == 4


def test_a_server_is_named_by_variables(here: Place, tmp_path: Path, provider: Provider) -> None:
    with serving(here) as (_, url):
        named = {
            "NIGHTKILN_HOME": str(tmp_path / "elsewhere"),
            "NIGHTKILN_URL": url,
            "NIGHTKILN_API_KEY": key_of(here),
        }
        assert here.run(**named).returncode == 0
        assert provider.requests == ROWS
        assert not (tmp_path / "elsewhere").exists()
        unknown = here.run("--new", **{**named, "NIGHTKILN_API_KEY": "nk_wrong"})
        assert unknown.returncode == 5
        no_key = here.run(**{**named, "NIGHTKILN_API_KEY": ""})
        assert no_key.returncode in (2, 5)


def test_a_server_that_is_gone_is_said_to_be_gone(here: Place) -> None:
    said = here.nightkiln(
        "jobs", "list", NIGHTKILN_URL="http://127.0.0.1:1", NIGHTKILN_API_KEY="nk_any"
    )
    assert said.returncode == 8
    assert "does not answer" in said.stderr


def test_batch_lines_are_answered_at_the_server_and_come_back_as_two_files(here: Place) -> None:
    def line(name: str, text: str) -> str:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        asked = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(asked) + "\n"

    (here.folder / "in.jsonl").write_text(line("a", "good") + line("b", "bad __poison__"))
    with serving(here):
        done = here.nightkiln("run", "in.jsonl", "-o", "out.jsonl", "--endpoint", here.url)
        assert done.returncode == 3, done.stderr
        assert [one["custom_id"] for one in here.lines()] == ["a"]
        assert [one["custom_id"] for one in here.lines("out.errors.jsonl")] == ["b"]


def test_some_rows_are_tried_at_the_server_and_the_rest_after_a_word(
    here: Place, provider: Provider
) -> None:
    with serving(here):
        tried = here.run("--try", "3")
        assert tried.returncode == 0, tried.stderr
        assert f"tried 3 of {ROWS} rows" in tried.stderr
        assert "nightkiln jobs resume" in tried.stderr
        assert provider.requests == 3
        done = here.run("--try", "3", "--yes")
        assert done.returncode == 0, done.stderr
        assert len(here.answers()) == ROWS
        assert provider.requests == ROWS


def test_bad_rows_and_a_folder_of_results_come_from_a_server_too(here: Place) -> None:
    (here.folder / "mixed.csv").write_text("text,n\na,1\nb,2,3\nc,4\n")
    target = ("--endpoint", here.url, "--model", "m", "--column", "text")
    with serving(here):
        said = here.nightkiln(
            "run", "mixed.csv", *target, "--bad-rows", "bad.jsonl", "-o", "parts/"
        )
        assert said.returncode == 3, said.stderr
        assert "bad.jsonl says which and why" in said.stderr
        assert [line["row"] for line in here.lines("bad.jsonl")] == [1]
        assert (here.folder / "parts" / "_manifest.json").exists()


def test_old_jobs_are_cleaned_away_at_the_server(here: Place) -> None:
    with serving(here):
        assert here.run().returncode == 0
        looked = here.nightkiln("jobs", "clean", "--older-than", "0m", "--dry-run")
        assert "1 job" in looked.stderr
        cleaned = here.nightkiln("jobs", "clean", "--older-than", "0m", "--yes", "--json")
        (gone,) = json.loads(cleaned.stdout)["deleted"]
        assert gone["rows"] == ROWS
        assert here.nightkiln("jobs", "show", gone["job"]).returncode == 7


def test_a_key_that_may_write_tries_rows_at_an_endpoint_of_the_servers(
    here: Place, tmp_path: Path, provider: Provider
) -> None:
    settings = f'[endpoints.team]\nurl = "{here.url}"\nmodels = ["m"]\n'
    (here.folder / "nightkiln.toml").write_text(settings)
    with serving(here) as (_, url):
        made = here.nightkiln("keys", "create", "--scope", "write", "--json")
        named = {
            "NIGHTKILN_HOME": str(tmp_path / "elsewhere"),
            "NIGHTKILN_URL": url,
            "NIGHTKILN_API_KEY": json.loads(made.stdout)["text"],
        }
        team = ("in.csv", "--endpoint", "team", "--model", "m", "--column", "text", "-o", "out.csv")
        done = here.nightkiln("run", *team, "--try", "2", "--yes", **named)
        assert done.returncode == 0, done.stderr
        assert len(here.answers()) == ROWS
        assert provider.requests == ROWS
        shown = json.loads(here.nightkiln("jobs", "show", "last", "--json", **named).stdout)
        assert shown["files"] is None  # they are on the server's machine


def test_rows_are_asked_again_at_once(here: Place, provider: Provider) -> None:
    here.table(ROWS, poison=2)
    with serving(here):
        assert here.run().returncode == 3
        before = provider.requests
        again = here.nightkiln("jobs", "retry", "last", "--run", "-o", "again.csv")
        assert again.returncode == 3, again.stderr
        assert provider.requests == before + 2
        assert len(here.answers("again.csv")) == ROWS
