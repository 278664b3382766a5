"""Answers that do not fit what the job asks for: one more try at a larger budget."""

from collections.abc import Callable

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.request import Prompt
from nightkiln.core.usage import Usage
from nightkiln.dispatch.openchunk import Form
from nightkiln.testing.backends import encode_prompt
from nightkiln.vault.parts import spent_on

from .conftest import Play, Stage, prompt_of

Run = Callable[[Play], None]
CUT = Fault(kind=FaultClass.INCOMPLETE, code="json_cut")
USED = Usage(input_tokens=2, output_tokens=3)


def form(bodies: list[str]) -> Form:
    def larger(prompt: Prompt) -> bytes:
        bodies.append(str(prompt))
        return encode_prompt(prompt)

    def misfit(reply: Reply) -> Fault | None:
        return CUT if reply.text == "cut" else None

    return Form(encode=encode_prompt, larger=larger, misfit=misfit)


def test_an_answer_that_does_not_fit_is_asked_for_once_more_at_a_larger_budget(
    on_stage: Run,
) -> None:
    bodies: list[str] = []

    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [Reply(text="cut", usage=USED), Reply(text="whole")])
        await stage.add([0, 1], form=form(bodies))
        await stage.until_answered()
        answer = stage.answers()[0]
        assert (answer.text, answer.fault, stage.backend.asks[0]) == ("whole", None, 2)
        assert bodies == [prompt_of(0)]
        assert spent_on(answer.attempts).output_tokens == 3  # what did not fit was paid for too

    on_stage(play)


def test_a_second_misfit_is_the_row_s_fault(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [Reply(text="cut")] * 9)
        await stage.add([0], form=form([]))
        await stage.until_answered()
        assert (stage.answers()[0].fault, stage.backend.asks[0]) == (CUT, 2)

    on_stage(play)


def test_what_a_second_try_cannot_mend_is_not_asked_for_again(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for row in range(2):
            stage.backend.script(prompt_of(row), [Reply(text="cut")] * 9)
        none = msgspec.structs.replace(form([]), larger=None)
        futile = msgspec.structs.replace(form([]), may_mend=lambda _: False)
        await stage.add([0], form=none)
        await stage.add([1], form=futile)
        await stage.until_answered()
        assert [answer.fault for answer in stage.answers().values()] == [CUT, CUT]
        assert (stage.backend.asks[0], stage.backend.asks[1]) == (1, 1)

    on_stage(play)
