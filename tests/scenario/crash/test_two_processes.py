"""Two processes and one job: watching, taking over, cancelling, and what signals do."""

from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest
from tests.scenario.crash.invariants import (
    assert_asked_once,
    assert_ended_well,
    assert_monotone,
    assert_no_secret,
    assert_not_asked_again,
    assert_quiet,
    assert_recovers,
    assert_spending,
    assert_table,
)
from tests.scenario.crash.kiln import KILLED, Kiln
from tests.scenario.crash.records import jobs_of, published_rows, records_of
from tests.scenario.crash.world import ROWS, SLOTS, World, until

from nightkiln.core.job import JobState
from nightkiln.simulate import SimulatorSettings

pytestmark = pytest.mark.crash

SLOW_MS = 150  # a round of slots; the whole job takes twelve
LONG_MS = (
    6 * SLOW_MS
)  # so that another command starts before the job is over, on a busy machine too
CANCELLED = 4
WATCHING = "watching it"
RESUME = "nightkiln run"


@pytest.fixture(autouse=True)
def a_slow_provider(world: World) -> None:
    world.simulator.configure(SimulatorSettings(latency=f"const:{SLOW_MS}"))


async def test_the_second_of_two_watches_and_every_row_is_asked_once(
    world: World, kiln: Kiln
) -> None:
    one, two = world.folder / "one.csv", world.folder / "two.csv"
    world.simulator.configure(SimulatorSettings(latency=f"const:{LONG_MS}"))
    first = await kiln.start(world.order(one))
    await world.answered(1)
    second = await kiln.start(world.order(two))
    await until(lambda: WATCHING in second.err(), "the second to watch")
    world.simulator.configure(SimulatorSettings(latency=f"const:{SLOW_MS}"))
    (await first.ended()).expect(0)
    watched = (await second.ended()).expect(0)
    assert_quiet(world, watched)
    assert_monotone(watched.err)
    assert_table(world, one)
    assert_table(world, two)
    assert_asked_once(world)
    await assert_ended_well(world, kiln.home)


async def test_two_that_start_at_once_are_one_job(world: World, kiln: Kiln) -> None:
    outputs = [world.folder / f"{name}.csv" for name in ("one", "two", "three")]
    running = [await kiln.start(world.order(output)) for output in outputs]
    for each in running:
        (await each.ended()).expect(0)
    for output in outputs:
        assert_table(world, output)
    assert_asked_once(world)
    await assert_ended_well(world, kiln.home)


async def test_the_second_takes_over_when_the_first_is_killed(world: World, kiln: Kiln) -> None:
    one, two = world.folder / "one.csv", world.folder / "two.csv"
    world.simulator.configure(SimulatorSettings(latency=f"const:{LONG_MS}"))
    first = await kiln.start(world.order(one))
    await world.answered(1)
    second = await kiln.start(world.order(two))
    await until(lambda: WATCHING in second.err(), "the second to watch")
    world.simulator.configure(SimulatorSettings(latency=f"const:{SLOW_MS}"))
    await world.answered(30)
    first.send(SIGKILL)
    killed = (await first.ended()).expect(KILLED)
    known, before = records_of(kiln.home), world.asked()
    taken_over = (await second.ended()).expect(0)
    assert_quiet(world, taken_over)
    assert_monotone(killed.err, taken_over.err)
    assert_table(world, two)
    assert not one.exists()
    again = [row for row in known.answered if world.asked()[row] != 1]
    assert not again, f"asked again though recorded: {again}"
    assert sum(world.asked()) <= ROWS + SLOTS
    assert sum(before) <= ROWS
    await assert_ended_well(world, kiln.home)


async def test_watch_follows_from_a_second_terminal(world: World, kiln: Kiln) -> None:
    first = await kiln.start(world.order(world.folder / "answers.csv"))
    await world.answered(1)
    (job,) = await jobs_of(kiln.home)
    watched = (await kiln.do(["jobs", "watch", job.id])).expect(0)
    assert_quiet(world, watched)
    (await first.ended()).expect(0)
    assert_asked_once(world)


async def test_progress_never_goes_back_over_a_crash(world: World, kiln: Kiln) -> None:
    """Stragglers keep chunks open that the next run, with one slot, does not open at once."""
    world.simulator.configure(SimulatorSettings(latency="bimodal:50,60000,0.07"))
    output = world.folder / "answers.csv"
    first = await kiln.start(world.order(output))
    await world.answered(50)
    await until(lambda: len(records_of(kiln.home).answered) >= 50, "journalled answers")
    told = await _told(kiln)
    while told < 40:  # the runner reports once a second
        told = await _told(kiln)
    first.send(SIGKILL)
    await first.ended()
    world.simulator.configure(SimulatorSettings(latency="const:100"))
    second = await kiln.start(world.order(output, slots=1))
    seen = [told]
    while not second.is_over:
        seen.append(await _told(kiln))
    (await second.ended()).expect(0)
    assert seen == sorted(seen)
    assert_table(world, output)


async def _told(kiln: Kiln) -> int:
    """How many rows `jobs show` would say are answered."""
    (job,) = await jobs_of(kiln.home)
    return max(job.totals.answered, job.live.totals.answered if job.live else 0)


async def test_cancel_from_a_second_terminal_keeps_the_answers(world: World, kiln: Kiln) -> None:
    world.simulator.configure(SimulatorSettings(latency=f"const:{LONG_MS}"))
    output = world.folder / "answers.csv"
    first = await kiln.start(world.order(output))
    await world.answered(30)
    (job,) = await jobs_of(kiln.home)
    assert_quiet(world, (await kiln.do(["jobs", "cancel", job.id])).expect(0))
    assert_quiet(world, (await first.ended()).expect(CANCELLED))
    (cancelled,) = await jobs_of(kiln.home)
    assert cancelled.state is JobState.CANCELLED
    kept = published_rows(kiln.home, cancelled)
    assert 30 <= len(kept) < ROWS
    assert output.read_text().count(",ok,") == len(kept)
    assert output.read_text().count(",cancelled,") == ROWS - len(kept)
    await assert_spending(world, kiln.home, cancelled)
    before = world.asked()
    (await kiln.do(world.order(output))).expect(0)
    assert_table(world, output)
    assert all(world.asked()[row] == before[row] for row in kept)
    await assert_ended_well(world, kiln.home)


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
async def test_the_first_signal_drains_and_says_how_to_go_on(
    world: World, kiln: Kiln, number: Signals, code: int
) -> None:
    output = world.folder / "answers.csv"
    first = await kiln.start(world.order(output))
    await world.answered(30)
    first.send(number)
    ended = (await first.ended()).expect(code)
    assert_quiet(world, ended)
    assert RESUME in ended.err
    assert world.asked() == [int(row in records_of(kiln.home).answered) for row in range(ROWS)]
    (job,) = await jobs_of(kiln.home)
    assert job.state is JobState.PAUSED
    again = await assert_recovers(world, kiln, world.order(output), output)
    assert_monotone(ended.err, again.err)
    assert_asked_once(world)


async def test_the_second_signal_leaves_at_once(world: World, kiln: Kiln) -> None:
    world.simulator.configure(SimulatorSettings(latency="const:8000"))
    output = world.folder / "answers.csv"
    first = await kiln.start(world.order(output))
    await until(lambda: world.simulator.stats().inflight == SLOTS, "requests in flight")
    first.send(SIGINT)
    await until(lambda: "stopping" in first.err(), "the first signal to be heard")
    first.send(SIGINT)
    ended = (await first.ended(seconds=3)).expect(130)
    assert_quiet(world, ended)
    known, before = records_of(kiln.home), world.asked()
    world.simulator.configure(SimulatorSettings())
    (await kiln.do(world.order(output))).expect(0)
    assert_table(world, output)
    assert_not_asked_again(world, before, known)
    await assert_ended_well(world, kiln.home)
    assert_no_secret(kiln.home)
