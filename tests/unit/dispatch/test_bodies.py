"""What servers really said: kept for jobs that ask for it, once, with the row's own answer."""

from collections.abc import Callable

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Task
from nightkiln.core.request import Prompt
from nightkiln.dispatch.openchunk import Form
from nightkiln.testing.backends import encode_prompt, fault

from .conftest import Stage, prompt_of

F = FaultClass
Run = Callable[..., None]
REFUSED = fault(F.PERMANENT, status=400, body=b"no")
STUMBLED = fault(F.TRANSIENT, status=500, body=b"oops")


def test_bodies_are_kept_where_they_are_asked_for(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [Reply(text="x", body=b"raw")])
        stage.backend.script(prompt_of(1), [STUMBLED, REFUSED])
        await stage.add(range(2), form=Form(encode=encode_prompt, keep_bodies=True))
        await stage.until_answered()
        answers = stage.answers()
        assert (answers[0].body, answers[1].body) == (b"raw", b"no")
        assert answers[1].fault == msgspec.structs.replace(REFUSED, body=None)
        tried = [attempt.fault for attempt in answers[1].attempts]
        assert [one and one.body for one in tried] == [None, None]
        assert [one and one.status for one in tried] == [500, 400]

    on_stage(play)


def test_other_jobs_keep_none(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [Reply(text="x", body=b"raw")])
        stage.backend.script(prompt_of(1), [REFUSED])
        await stage.add(range(2))
        await stage.until_answered()
        answers = stage.answers()
        assert (answers[0].body, answers[1].body) == (None, None)
        assert answers[1].fault is not None
        assert answers[1].fault.body is None

    on_stage(play)


def test_a_body_that_the_backend_has_no_words_for_fails_its_row_at_once(on_stage: Run) -> None:
    def encode(prompt: Prompt) -> bytes:
        if prompt == prompt_of(1):
            raise UsageError("the body's x is nothing this engine knows")
        return encode_prompt(prompt)

    async def play(stage: Stage) -> None:
        await stage.add(range(2), form=Form(encode=encode))
        await stage.until_answered()
        answers = stage.answers()
        assert answers[0].text is not None
        found = answers[1].fault
        assert found is not None
        assert (found.kind, found.code, found.sent) == (F.PERMANENT, "invalid_request", False)
        assert len(answers[1].attempts) == 1

    on_stage(play)


def test_requests_say_what_kind_they_are(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        seen: list[Task] = []
        stage.backend.when_asked = lambda request: seen.append(request.task)
        await stage.add(range(2), form=Form(encode=encode_prompt, task=Task.EMBEDDING))
        await stage.until_answered()
        assert seen == [Task.EMBEDDING] * 2

    on_stage(play)
