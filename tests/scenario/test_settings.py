"""Settings as users meet them: files in folders, real processes, the real simulated provider."""

import json
import os
from pathlib import Path

import pytest
from tests.scenario.place import Place, Provider

KEY = "canary-91aa07"


@pytest.fixture
def url(provider: Provider) -> str:
    provider.configure(api_key=KEY)
    return provider.url


class Project(Place):
    """A project's folder below a user's home, and the command in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.user = folder / "ruth"
        super().__init__(self.user / "project", url)
        self.folder.mkdir(parents=True)
        ours = {name: said for name, said in os.environ.items() if "NIGHTKILN" not in name}
        self.environ = {**ours, "HOME": str(self.user), "TEAM_KEY": KEY}
        self.environ.pop("XDG_CONFIG_HOME", None)
        self.environ.pop("XDG_DATA_HOME", None)
        (self.folder / "in.csv").write_text("text\nfirst\nsecond\n")

    def says(self, text: str) -> None:
        (self.folder / "nightkiln.toml").write_text(text)

    def user_says(self, text: str) -> None:
        path = self.user / ".config/nightkiln/nightkiln.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def shown(self, *arguments: str, **environ: str) -> dict[str, dict[str, object]]:
        done = self.nightkiln("config", "show", "--json", *arguments, **environ)
        assert done.returncode == 0, done.stderr
        return {one["setting"]: one for one in json.loads(done.stdout)["settings"]}


@pytest.fixture
def project(tmp_path: Path, provider: Provider) -> Project:
    return Project(tmp_path, provider.url)


def team(url: str) -> str:
    return f"""
home = "kiln"
[endpoints.team]
url = "{url}"
key = "env:TEAM_KEY"
models = ["large"]
[endpoints.team.prices.large]
input = 1000
output = 1000
[models.judge]
endpoint = "team"
model = "large"
max_tokens = 4
"""


def test_an_alias_finds_endpoint_key_and_price_and_the_first_line_says_so(
    project: Project, url: str
) -> None:
    project.says(team(url))
    done = project.nightkiln("run", "in.csv", "-o", "out.csv", "--model", "judge")
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    assert first.startswith("note: model large at 127.0.0.1:")
    assert first.endswith(": models.judge in nightkiln.toml, named by --model")
    rows = project.answers()
    assert [row["status"] for row in rows] == ["ok", "ok"]
    for row in rows:
        tokens = int(row["input_tokens"]) + int(row["output_tokens"])
        assert float(row["cost_usd"]) == pytest.approx(tokens / 1000)
    assert (project.folder / "kiln" / "nightkiln.db").exists()


def test_the_home_of_the_command_wins_over_the_one_of_the_file(project: Project, url: str) -> None:
    project.says(team(url))
    arguments = ("run", "in.csv", "-o", "out.csv", "--model", "judge", "--home", "typed")
    assert project.nightkiln(*arguments).returncode == 0
    assert (project.folder / "typed" / "nightkiln.db").exists()
    assert not (project.folder / "kiln").exists()


def test_a_model_that_an_endpoint_lists_is_asked_there(project: Project, url: str) -> None:
    project.says(team(url))
    done = project.nightkiln("run", "in.csv", "-o", "out.csv", NIGHTKILN_MODEL="large")
    assert done.returncode == 0, done.stderr
    assert "listed by endpoints.team in nightkiln.toml" in done.stderr.splitlines()[0]


def test_a_key_that_is_missing_is_named_by_its_reference(project: Project, url: str) -> None:
    project.says(team(url))
    done = project.nightkiln("run", "in.csv", "--endpoint", "team", TEAM_KEY="")
    assert done.returncode == 5
    assert "error E_AUTH: env:TEAM_KEY is not set or empty" in done.stderr


def test_a_secret_in_a_file_is_refused_and_not_repeated(project: Project) -> None:
    project.says('[endpoints.team]\nurl = "http://127.0.0.1:1/v1"\nkey = "sk-live-2f9a4417c0"\n')
    for verb in (("run", "in.csv", "--endpoint", "team"), ("config", "show"), ("jobs", "list")):
        done = project.nightkiln(*verb)
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == (
            "error E_CONFIG: nightkiln.toml: endpoints.team.key is no reference,"
            " and a key is never kept in a file"
        )
        assert "2f9a4417c0" not in done.stdout + done.stderr


def test_each_value_says_where_it_came_from(project: Project) -> None:
    project.user_says("timeout = 1\nwait = 1\nconcurrency = 1\n")
    project.says("timeout = 2\nwait = 2\n")
    shown = project.shown("--home", "here", NIGHTKILN_TIMEOUT="3")
    came = {name: (shown[name]["value"], shown[name]["source"]) for name in shown}
    assert came["home"] == (str(project.folder / "here"), "flag")
    assert came["timeout"] == (3, "env")
    assert came["wait"] == (2, "file")
    assert came["concurrency"] == (1, "file")
    assert came["on_bad_row"] == ("error", "built in")
    assert shown["timeout"]["origin"] == "env NIGHTKILN_TIMEOUT"
    assert shown["wait"]["origin"] == "nightkiln.toml: wait"
    assert shown["concurrency"]["origin"] == (
        f"{project.user}/.config/nightkiln/nightkiln.toml: concurrency"
    )


def test_the_table_of_settings_is_for_people(project: Project) -> None:
    project.says("timeout = 2\n")
    lines = project.nightkiln("config", "show").stdout.splitlines()
    assert lines[0].split() == ["setting", "value", "from"]
    assert [line.split(maxsplit=2) for line in lines if line.startswith("timeout")] == [
        ["timeout", "2", "nightkiln.toml: timeout"]
    ]


def test_a_name_nobody_knows_comes_with_the_nearest(project: Project) -> None:
    project.says("[engine]\nkv_cache = 2\n")
    done = project.nightkiln("jobs", "list")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error E_CONFIG: nightkiln.toml: engine.kv_cache is no setting",
        "  fix: did you mean kv_cache_gb? engine takes: kv_cache_gb, precision",
        "  more: nightkiln explain E_CONFIG",
    ]
    project.says("")
    done = project.nightkiln("jobs", "list", NIGHTKILN_HOEM="x")
    assert "fix: did you mean NIGHTKILN_HOME?" in done.stderr


def test_the_files_can_be_found_and_checked_even_when_they_are_wrong(project: Project) -> None:
    project.says("tiemout = 2\n")
    found = json.loads(project.nightkiln("config", "path", "--json").stdout)["files"]
    assert found[0] == {
        "whose": "project",
        "path": str(project.folder / "nightkiln.toml"),
        "exists": True,
    }
    assert found[1]["exists"] is False
    checked = project.nightkiln("config", "check", "nightkiln.toml")
    assert checked.returncode == 2
    project.says("timeout = 2\n")
    checked = project.nightkiln("config", "check", "nightkiln.toml")
    assert (checked.returncode, checked.stdout) == (
        0,
        "nightkiln.toml has nothing wrong in its 1 settings\n",
    )
