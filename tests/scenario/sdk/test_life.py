"""The SDK in scripts that end in every way: nothing is lost, nothing is asked twice."""

import os
import signal

import pytest
from tests.scenario.place import until
from tests.scenario.sdk.desk import Desk

SLOWLY = 'nk.infer(rows, concurrency=4, name="nightly", **how)\n'


def test_a_script_that_does_not_wait_leaves_a_job_that_goes_on(place: Desk) -> None:
    place.provider.slow(100)
    first = place.script(f"job = {SLOWLY}print(job)\nwait_for_some(job)\n")
    assert first.returncode == 0, first.stderr
    job = first.stdout.strip()
    assert f"job {job} stops here" in first.stderr
    assert "Run this again to go on" in first.stderr
    assert 0 < place.provider.requests < 200

    place.provider.slow(0)
    again = place.script(f"job = {SLOWLY}print(job)\nprint(len(nk.await_job_results(job)))\n")
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == [job, "200"]
    assert "is the same and goes on" in again.stderr
    assert place.provider.requests == 200
    assert place.provider.asked_more_than_once == 0


def test_a_script_that_raises_drains_and_keeps_its_own_error(place: Desk) -> None:
    place.provider.slow(100)
    done = place.script(f"wait_for_some({SLOWLY.strip()})\nraise RuntimeError('mine')\n")
    assert done.returncode == 1
    assert "RuntimeError: mine" in done.stderr
    assert "stops here" in done.stderr
    place.provider.slow(0)
    assert place.script(f"nk.await_job_results({SLOWLY.strip()})").returncode == 0
    assert place.provider.requests == 200


def test_kill_9_loses_nothing_that_was_answered(place: Desk) -> None:
    place.provider.slow(100)
    process = place.start_script(f"nk.await_job_results({SLOWLY.strip()})")
    until(lambda: place.provider.requests >= 40)
    process.kill()
    process.communicate()
    place.provider.slow(0)
    done = place.script(f"print(len(nk.await_job_results({SLOWLY.strip()})))")
    assert done.stdout.strip() == "200", done.stderr
    assert place.provider.requests <= 200 + 4
    assert place.provider.asked_more_than_once <= 4


def test_ctrl_c_in_a_wait_ends_the_wait_and_not_the_job(place: Desk) -> None:
    place.provider.slow(100)
    process = place.start_script(
        f"""
        job = {SLOWLY.strip()}
        try:
            nk.await_job_results(job, timeout=600)
        except KeyboardInterrupt:
            print(nk.get_job_status(job), flush=True)
        print(len(nk.await_job_results(job)))
        """
    )
    until(lambda: place.provider.requests >= 20)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "running"
    place.provider.slow(0)
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out.strip()) == (0, "200"), err
    assert "no longer waiting" in err
    assert place.provider.requests == 200


def test_a_forked_child_has_a_loop_of_its_own_and_leaves_the_parents_alone(place: Desk) -> None:
    place.provider.slow(20)
    done = place.script(
        """
        job = nk.infer(rows, concurrency=4, **how)
        child = os.fork()
        if child == 0:
            mine = nk.infer(["only mine"], **how)
            assert mine != job
            assert len(nk.await_job_results(mine, timeout=60)) == 1
            assert nk.get_job_status(job) in ("running", "succeeded")
            raise SystemExit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(len(nk.await_job_results(job, timeout=60)))
        """
    )
    assert done.stdout.strip() == "200", done.stderr
    assert place.provider.requests == 201


def test_a_forked_child_does_not_hold_the_job_of_a_parent_that_was_killed(place: Desk) -> None:
    place.provider.slow(100)
    process = place.start_script(
        """
        job = nk.infer(rows, concurrency=4, **how)
        child = os.fork()
        if child == 0:
            while True:
                time.sleep(0.1)
        print(child, flush=True)
        nk.await_job_results(job)
        """
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        until(lambda: place.provider.requests >= 20)
        process.kill()
        process.wait()
        place.provider.slow(0)
        done = place.script("print(len(nk.await_job_results(nk.infer(rows, **how), timeout=60)))")
        assert done.stdout.strip() == "200", done.stderr
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_many_threads_submit_and_wait_at_once(place: Desk) -> None:
    done = place.script(
        """
        from concurrent.futures import ThreadPoolExecutor
        def ask(number):
            job = nk.infer([f"{number} {row}" for row in range(20)], **how)
            return len(nk.await_job_results(job, timeout=60))
        with ThreadPoolExecutor(8) as pool:
            print(*pool.map(ask, range(8)))
        """
    )
    assert done.stdout.split() == ["20"] * 8, done.stderr
    assert place.provider.requests == 160


def test_a_running_event_loop_is_no_obstacle(place: Desk) -> None:
    done = place.script(
        """
        import asyncio
        async def main():
            job = nk.infer(["a", "b"], **how)
            return nk.await_job_results(job, timeout=60)
        print(len(asyncio.run(main())))
        """
    )
    assert done.stdout.strip() == "2", done.stderr


def test_standard_output_belongs_to_the_script(place: Desk) -> None:
    done = place.script("nk.await_job_results(nk.infer(['a'], **how), timeout=60)")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 15)"])
def test_an_end_without_exit_handlers_loses_nothing_either(place: Desk, end: str) -> None:
    place.provider.slow(50)
    first = place.script(f"wait_for_some({SLOWLY.strip()})\n{end}\n")
    assert first.returncode != 0
    place.provider.slow(0)
    done = place.script(f"print(len(nk.await_job_results({SLOWLY.strip()})))")
    assert done.stdout.strip() == "200", done.stderr
    assert place.provider.asked_more_than_once <= 4


def test_settings_of_the_folder_hold_and_arguments_outweigh_them(place: Desk) -> None:
    (place.folder / "nightkiln.toml").write_text(
        f'endpoint = "sim"\nmodel = "from-file"\n\n[endpoints.sim]\nurl = "{place.provider.url}"\n'
    )
    done = place.script(
        """
        jobs = [nk.infer(["a"]), nk.infer(["b"], model="from-python")]
        print(*[len(nk.await_job_results(job, timeout=60)) for job in jobs])
        print(*[info.model for info in nk.list_jobs()])
        """
    )
    assert done.stdout.split() == ["1", "1", "from-python", "from-file"], done.stderr


@pytest.mark.parametrize(
    "before", ["", "nk.infer", "nk.await_job_results(nk.infer(['a'], **how), timeout=60)"]
)
def test_a_thread_that_outlives_the_main_one_hears_what_to_do(place: Desk, before: str) -> None:
    done = place.script(
        f"""
        import threading
        {before}
        def late():
            threading.main_thread().join()
            time.sleep(0.2)
            try:
                nk.infer(["late"], **how)
            except nk.UsageError as error:
                print(error, error.hint)
        threading.Thread(target=late).start()
        """
    )
    assert "the main thread has ended" in done.stdout, done.stderr
    assert "thread.join()" in done.stdout


def test_a_thread_that_still_waits_when_the_main_one_ends_is_told_and_holds_nobody(
    place: Desk,
) -> None:
    place.provider.slow(3000)
    done = place.script(
        """
        import threading
        job = nk.infer(rows, concurrency=2, **how)
        def wait():
            try:
                nk.await_job_results(job, timeout=600)
            except nk.UsageError as error:
                print(error, error.hint)
        waiting = threading.Thread(target=wait)
        waiting.start()
        while nk.get_job_status(job) != "running":
            time.sleep(0.05)
        """
    )
    assert "the main thread has ended" in done.stdout, done.stderr
