"""The comparison with other tools: fair inputs, honest counts, nobody left out in silence."""

import ast
from pathlib import Path

import msgspec
import psutil
import pytest
from bench import inputs, page
from bench.figures import Machine, Report
from bench.peers import environments, phases
from bench.peers.comparison import Result, Setting, figures, main_table
from bench.peers.roster import DRIVERS, PEERS, REQUIREMENTS, TUNED, Peer
from bench.peers.trees import Spent, Tree
from bench.processes import BenchError

EVERYBODY = (*PEERS, *TUNED)


@pytest.mark.parametrize("pins", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_requirement_is_pinned(pins: Path) -> None:
    lines = [line for line in pins.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert not [line for line in lines if "==" not in line]


@pytest.mark.parametrize("driver", sorted(DRIVERS.glob("*.py")), ids=lambda path: path.stem)
def test_a_driver_imports_nothing_of_ours(driver: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(driver.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported
    assert not imported & {"nightkiln", "bench", "tests"}


def test_every_peer_has_a_driver_a_pin_and_enough_rows() -> None:
    assert {peer.requirements for peer in EVERYBODY} == {
        path.stem for path in REQUIREMENTS.glob("*.txt")
    }
    for peer in EVERYBODY:
        assert peer.script.is_file()
        assert peer.version[0].isdigit()
        assert peer.rows >= 4 * peer.concurrency


def test_an_environment_that_cannot_be_made_is_told_with_pips_last_line(tmp_path: Path) -> None:
    class Broken(Peer, frozen=True, kw_only=True):
        @property
        def pins(self) -> Path:
            return tmp_path / "broken.txt"

    (tmp_path / "broken.txt").write_text("./no-such-folder\n")
    given = msgspec.structs.asdict(PEERS[0])
    made = environments.environment(Broken(**given), place=tmp_path)
    assert isinstance(made, environments.Missing)
    assert "no-such-folder" in made.reason


def test_a_lost_row_and_a_swapped_answer_both_count_as_wrong(tmp_path: Path) -> None:
    def line(row: int, answer_of: int | None) -> str:
        digest = None if answer_of is None else phases._digest(answer_of)
        answer = None if digest is None else f"h:{digest} lorem"
        found = {"custom_id": f"request-{row:08d}", "text": inputs.prompt(row), "answer": answer}
        return msgspec.json.encode(found).decode()

    output = tmp_path / "answers.jsonl"
    output.write_text("\n".join([line(0, 0), line(1, 2), line(2, None), line(3, 3)]) + "\n")
    assert phases.wrong(output, 4) == 2
    assert phases.wrong(output, 5) == 3
    assert phases.wrong(tmp_path / "never-written.jsonl", 5) == 5


def test_a_killed_tree_takes_its_children_with_it(tmp_path: Path) -> None:
    tree = Tree(
        ["sh", "-c", "sleep 60 & echo $!; wait"],
        folder=tmp_path,
        environ={"PATH": "/usr/bin:/bin"},
    )
    log = tmp_path / "driver.log"
    assert tree.wait(until=lambda: bool(log.read_text())) is None
    child = int(log.read_text())
    assert tree.kill().code == -9
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_tool_that_fails_is_told_with_its_last_line(tmp_path: Path) -> None:
    tree = Tree(
        ["sh", "-c", "echo first; echo no such model; exit 1"],
        folder=tmp_path,
        environ={"PATH": "/usr/bin:/bin"},
    )
    with pytest.raises(BenchError, match="no such model"):
        phases._ended(tree)


def run_of(rows: int, cpu_s: float, rate: float, wrong: int = 0) -> phases.Run:
    spent = Spent(code=0, wall_s=rows / rate, cpu_s=cpu_s, peak_mb=50.0)
    return phases.Run(rows=rows, wrong=wrong, requests=rows, rate=rate, filled=1.0, spent=spent)


def result_of(title: str, cpu_s: float, rate: float) -> Result:
    return Result(
        title=title,
        version="1.0",
        slots="512",
        short=run_of(100, 1.0, 100.0),
        long=run_of(1_100, 1.0 + cpu_s, rate),
        faults=run_of(1_000, cpu_s, rate, wrong=7),
        killed=phases.Killed(rows=1_000, answered=500, asked_again=3, seen_twice=9, wrong=0),
    )


def test_the_table_holds_ratios_and_names_who_could_not_be_measured() -> None:
    ours, peer = result_of("nightkiln", 0.05, 9_000.0), result_of("loop", 1.0, 450.0)
    absent = Result(title="absent", version="2.0", slots="1", failures=("no such wheel",))
    told = main_table(ours, [peer, absent])
    assert (
        "| loop 1.0 | 512 | 1,100 | 450 | 20x as fast | 1,000 µs | 5 % of it | 50 MB"
        " | 450 | 7 of 1,000 | 3 of 500 |" in told
    )
    assert "absent 2.0: no such wheel" in told
    found = {figure.name: figure for figure in figures(ours, [peer, absent], [])}
    assert found["rate of nightkiln, times that of loop"].value == pytest.approx(20)
    assert found["absent 2.0: could not be measured"].note == "no such wheel"


@pytest.mark.parametrize(("more_is_better", "ratio"), [(True, 0.5), (False, 2.0)])
def test_a_ratio_below_one_is_the_other_tools_advantage(more_is_better: bool, ratio: float) -> None:
    setting = Setting(
        setting="short",
        title="loop",
        unit="s",
        theirs=2.0,
        ours=1.0,
        more_is_better=more_is_better,
    )
    assert setting.ratio == ratio


def test_the_page_takes_a_body_between_its_markers(tmp_path: Path) -> None:
    machine = Machine(
        system="Linux",
        processor="one",
        cores=2,
        memory_gb=8.0,
        python="3.11",
        load_before=0.1,
        load_after=0.2,
    )
    made = Report(
        at="2026-01-01T00:00:00+00:00",
        command="python run.py",
        commit="abc",
        changed=False,
        version="0.1.0",
        yardstick="yardstick",
        machine=machine,
        figures=(),
        workload_s={},
    )
    shown = tmp_path / "page.md"
    shown.write_text("a\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nz\n")
    page.update(made, shown, name="peers", body="| a table |")
    text = shown.read_text()
    assert "`abc`" in text
    assert "| a table |" in text
    assert "old" not in text
