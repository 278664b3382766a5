"""What a roster and a sweep decide by is filled in for jobs and batches of an earlier revision."""

import json
import sqlite3
import time
from pathlib import Path

from tests.unit.store.test_migrating_uses import made_at, upgraded

DAY_S = 86_400.0


def test_priorities_and_times_of_old_records_are_carried_over(tmp_path: Path) -> None:
    path = made_at(tmp_path, "0004", jobs=1203)
    now = time.time()
    connection = sqlite3.connect(path)
    label = json.dumps({"label": {"priority": 1}})
    connection.execute("update jobs set spec = ? where id = 'job_01202'", (label,))
    for name, said in (
        ("batch_00001", {"dialect": "openai", "ended_at": now, "job": "job_00001"}),
        (
            "batch_00002",
            {
                "dialect": "openai",
                "ended_at": now,
                "job": "job_00002",
                "outputs_live_s": 9 * DAY_S,
            },
        ),
        (
            "batch_00003",
            {"dialect": "anthropic", "ended_at": now, "job": "job_3", "created_at": now - 5.0},
        ),
        ("batch_00004", {"dialect": "openai", "ended_at": now, "job": None}),
        ("batch_00005", {"dialect": "part", "ended_at": now, "job": "job_5"}),
    ):
        text = json.dumps({"expires_at": 7.0, **said})
        connection.execute("update batches set batch = ? where id = ?", (text, name))
    connection.commit()
    connection.close()
    upgraded(path, "0005")
    connection = sqlite3.connect(path)
    urgent = connection.execute("select id from jobs where priority = 1").fetchall()
    expiring = connection.execute(
        "select expires_at, count(*) from batches group by expires_at order by expires_at"
    ).fetchall()
    going = connection.execute(
        "select id, results_until from batches where results_until is not null order by id"
    ).fetchall()
    connection.close()
    assert urgent == [("job_01202",)]
    assert expiring == [(2.0, 1198), (7.0, 5)]
    assert going == [
        ("batch_00001", now + 30 * DAY_S),
        ("batch_00002", now + 9 * DAY_S),
        ("batch_00003", now - 5.0 + 29 * DAY_S),
    ]


def test_results_that_have_had_their_time_stay_for_a_week_after_the_upgrade(tmp_path: Path) -> None:
    path = made_at(tmp_path, "0004", jobs=3)
    connection = sqlite3.connect(path)
    for name, dialect in (("batch_00001", "openai"), ("batch_00002", "anthropic")):
        ended = {"dialect": dialect, "ended_at": 10.0, "created_at": 1.0, "job": "job_00001"}
        text = json.dumps({"expires_at": 7.0, **ended})
        connection.execute("update batches set batch = ? where id = ?", (text, name))
    connection.commit()
    connection.close()
    before = time.time()
    upgraded(path, "0005")
    connection = sqlite3.connect(path)
    found = connection.execute(
        "select results_until from batches where results_until is not null"
    ).fetchall()
    connection.close()
    week_s = 7 * DAY_S
    assert len(found) == 2
    assert all(before + week_s <= until <= time.time() + week_s for (until,) in found)
