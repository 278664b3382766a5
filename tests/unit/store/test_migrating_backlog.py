"""What a roster and a sweep decide by is filled in for jobs and batches of an earlier revision."""

import json
import sqlite3
from pathlib import Path

from tests.unit.store.test_migrating_uses import made_at, upgraded


def test_priorities_and_times_of_old_records_are_carried_over(tmp_path: Path) -> None:
    path = made_at(tmp_path, "0004", jobs=1203)
    connection = sqlite3.connect(path)
    label = json.dumps({"label": {"priority": 1}})
    connection.execute("update jobs set spec = ? where id = 'job_01202'", (label,))
    day_s = 86_400.0
    for name, said in (
        ("batch_00001", {"dialect": "openai", "ended_at": 10.0, "job": "job_00001"}),
        (
            "batch_00002",
            {"dialect": "openai", "ended_at": 10.0, "job": "job_00002", "outputs_live_s": 5.0},
        ),
        (
            "batch_00003",
            {"dialect": "anthropic", "ended_at": 10.0, "job": "job_3", "created_at": 1.0},
        ),
        ("batch_00004", {"dialect": "openai", "ended_at": 10.0, "job": None}),
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
    assert expiring == [(2.0, 1199), (7.0, 4)]
    assert going == [
        ("batch_00001", 10.0 + 30 * day_s),
        ("batch_00002", 15.0),
        ("batch_00003", 1.0 + 29 * day_s),
    ]
