"""The progress line, letter by letter."""

import io
import time

import msgspec
import pytest

from nightkiln.cli.numbers import bytes_of, money, short, span
from nightkiln.cli.progress import Progress, eta_s, fitted, opening_line, parts_of
from nightkiln.cli.terminal import Terminal, terminal
from nightkiln.core.events import Noticed, Opened, Opening, Progressed
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState, Live
from nightkiln.core.usage import Totals

JOB = JobId("job_1")
NOON = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def progressed(
    ok: int, rows: int = 1_000_000, *, phase: str = "running", waiting: str = "", **totals: int
) -> Progressed:
    live = Live(
        at=NOON,
        totals=msgspec.structs.replace(Totals(ok=ok), **totals),
        rows_per_s=1240.0,
        tokens_per_s=410_000.0,
        waiting=waiting,
    )
    return Progressed(job=JOB, phase=phase, rows=rows, live=live)


def line(event: Progressed, *, elapsed_s: float, width: int = 500, reused: int = 0) -> str:
    parts = parts_of(event, now=NOON, elapsed_s=elapsed_s, reused=reused)
    return "".join(text for text, _ in fitted(parts, width, str))


def shown_by(
    *, is_tty: bool, unicode: bool = True, width: int = 80
) -> tuple[Terminal, io.StringIO]:
    out = io.StringIO()
    return Terminal(out, is_tty=is_tty, colour=False, unicode=unicode, width=width), out


FULL = progressed(618_900, failed=1_100, truncated=900, cost_nanos=3_100_000_000)


def test_the_line_says_everything() -> None:
    assert line(FULL, elapsed_s=500) == (
        "running ▓▓▓▓▓▓▓░░░░░ 62 % 620k/1.0M rows · ✓619k !900 ✗1.1k · 1.2k rows/s · 410k tok/s"
        " · $3.10 of ~$5.00 · ETA 12:05 (in 5 min 6 s)"
    )


def test_a_narrow_line_drops_what_matters_least() -> None:
    assert line(FULL, elapsed_s=500, width=79) == (
        "running 62 % 620k/1.0M rows · ✓619k !900 ✗1.1k · ETA 12:05 (in 5 min 6 s)"
    )
    assert line(FULL, elapsed_s=500, width=20) == "running 62 %"


@pytest.mark.parametrize(("done", "elapsed_s"), [(9_999, 500.0), (620_000, 29.9)])
def test_there_is_no_eta_before_one_percent_or_thirty_seconds(done: int, elapsed_s: float) -> None:
    assert eta_s(progressed(done), elapsed_s=elapsed_s, reused=0) is None


def test_reused_rows_bring_no_eta() -> None:
    assert eta_s(progressed(905_000), elapsed_s=60, reused=904_999) is None
    left = eta_s(progressed(905_000), elapsed_s=60, reused=900_000)
    assert left == pytest.approx(95_000 / 1240)


def test_a_wait_says_why_instead_of_a_rate() -> None:
    waiting = progressed(10, 100, waiting="throttled for 12 s")
    assert line(waiting, elapsed_s=60) == (
        "running ▓░░░░░░░░░░░ 10 % 10/100 rows · ✓10 · waiting: throttled for 12 s"
    )


def test_hundred_percent_is_never_said_too_early() -> None:
    assert " 99 % " in line(progressed(999_999), elapsed_s=60)


def test_rows_being_read_have_no_percent() -> None:
    assert (
        line(progressed(0, 620_000, phase="validating"), elapsed_s=0) == "validating 620k rows read"
    )


def test_a_pipe_gets_plain_lines_by_step_or_by_time() -> None:
    shown, out = shown_by(is_tty=False)
    hands = Hands()
    progress = Progress(shown, clock=hands)
    for done in (0, 10_000, 49_999, 50_000, 60_000):
        hands.now += 2
        progress(progressed(done))
    hands.now += 30
    progress(progressed(60_001))
    lines = out.getvalue().splitlines()
    assert [text.split(" · ")[0] for text in lines] == [
        "running 0 % 0/1.0M rows",
        "running 5 % 50.0k/1.0M rows",
        "running 6 % 60.0k/1.0M rows",
    ]
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_a_quick_job_does_not_fill_a_log() -> None:
    shown, out = shown_by(is_tty=False)
    hands = Hands()
    progress = Progress(shown, clock=hands)
    for done in range(0, 100, 5):
        hands.now += 0.01
        progress(progressed(done, 100))
    assert len(out.getvalue().splitlines()) == 1


def test_a_new_phase_or_reason_is_said_at_once() -> None:
    shown, out = shown_by(is_tty=False)
    progress = Progress(shown, clock=Hands())
    for event in (
        progressed(10, 100),
        progressed(10, 100, waiting="quota"),
        progressed(100, 100, phase="finalizing"),
    ):
        progress(event)
    assert len(out.getvalue().splitlines()) == 3


def test_a_terminal_is_redrawn_ten_times_a_second_at_most() -> None:
    shown, out = shown_by(is_tty=True, width=60)
    hands = Hands()
    progress = Progress(shown, clock=hands)
    for done in range(100):
        hands.now += 0.01
        progress(progressed(done, 100))
    assert 8 <= out.getvalue().count("\r\x1b[2K") <= 10
    assert all(len(text) < 60 for text in out.getvalue().split("\r\x1b[2K"))
    progress.close()
    assert out.getvalue().endswith("\r\x1b[2K")


def test_a_notice_stays_above_the_line() -> None:
    shown, out = shown_by(is_tty=True)
    progress = Progress(shown, clock=Hands())
    progress(progressed(1, 100))
    progress(Noticed(text="the key is refused"))
    assert out.getvalue().endswith("\r\x1b[2Knote: the key is refused\n")


def test_a_stream_without_the_letters_gets_ascii() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Progress(terminal(raw, environ={}), clock=Hands())(FULL)
    raw.flush()
    assert isinstance(raw.buffer, io.BytesIO)
    assert raw.buffer.getvalue().decode("ascii").startswith("running 62 % 620k/1.0M rows | ok 619k")


@pytest.mark.parametrize(
    ("environ", "no_color"), [({"NO_COLOR": "1"}, False), ({}, True), ({"TERM": "dumb"}, False)]
)
def test_colours_can_be_refused(environ: dict[str, str], no_color: bool) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert terminal(Screen(), no_color=no_color, environ=environ).coloured("x", "red") == "x"
    assert terminal(Screen(), environ={}).coloured("x", "red") == "\x1b[31mx\x1b[0m"


@pytest.mark.parametrize("how", list(Opening))
def test_every_opening_has_a_sentence_that_names_the_job(how: Opening) -> None:
    opened = Opened(job=JOB, how=how, state=JobState.RUNNING, rows=10, reused=912_334)
    assert "job job_1" in opening_line(opened)


def test_what_is_kept_is_said_with_its_price() -> None:
    opened = Opened(
        job=JOB, how=Opening.ATTACHED, state=JobState.PAUSED, rows=1_000_000, reused=912_334
    )
    assert opening_line(opened) == "job job_1 goes on; 912,334 rows answered before are kept, $0"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9, "9"),
        (0.4, "0.4"),
        (999, "999"),
        (1000, "1.0k"),
        (999_600, "1.0M"),
        (2e9, "2.0G"),
    ],
)
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text


def test_money_durations_and_sizes() -> None:
    assert [money(usd) for usd in (0, 0.0031, 3.1, 1234.5)] == [
        "$0",
        "$0.0031",
        "$3.10",
        "$1,234.50",
    ]
    assert [span(s) for s in (0.04, 9, 59.6, 192, 7380)] == [
        "0.0 s",
        "9.0 s",
        "1 min 0 s",
        "3 min 12 s",
        "2 h 3 min",
    ]
    assert [bytes_of(n) for n in (12, 35_000, 5e9)] == ["12 B", "35.0 kB", "5.0 GB"]


def test_no_number_is_said_of_answers_that_are_not_counted_yet() -> None:
    opened = Opened(job=JOB, how=Opening.ATTACHED, state=JobState.PAUSED, rows=200, reused=0)
    assert opening_line(opened) == "job job_1 goes on; answers it has are kept, $0"
