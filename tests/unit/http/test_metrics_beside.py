"""Work beside requests that stumbles is seen at /metrics, by an admin only."""

from pathlib import Path

from tests.serving import served


def test_how_often_work_began_anew_is_counted(tmp_path: Path) -> None:
    with served(tmp_path / "home", work=True) as server:
        found = server.get("/metrics").body.decode()
        for work in ("roster", "sweep", "sending of events"):
            assert f'nightkiln:stumbles_total{{work="{work}"}} 0.0' in found
        key = server.new_key(project="other")
        assert "nightkiln:stumbles" not in server.get("/metrics", key=key).body.decode()
