"""Which identical requests have the same answer by their own words."""

import msgspec
import pytest

from nightkiln.core.job import BatchHead, JobSpec, PromptSpec, Sampling, SourceSpec, Task
from nightkiln.core.request import WireBody
from nightkiln.core.reuse import Dedupe
from nightkiln.plan.settled import Settled, is_worthwhile

SOURCE = SourceSpec(kind="csv", path="/in.csv", name="in.csv", size_bytes=9, sha256="00")


def spec(task: Task = Task.CHAT, **sampling: object) -> JobSpec:
    made = msgspec.convert(sampling, Sampling)
    return JobSpec(source=SOURCE, prompt=PromptSpec(), model="m", task=task, sampling=made)


def param(**values: object) -> dict[str, object]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


@pytest.mark.parametrize(
    ("asked", "settled"),
    [
        (spec(), False),
        (spec(max_tokens=5), False),
        (spec(temperature=0.0), True),
        (spec(temperature=0.1), False),
        (spec(seed=7), True),
        (spec(temperature=0.7, seed=0), True),
        (spec(extra=param(temperature=0)), True),
        (spec(extra=param(temperature="0")), False),
        (spec(extra=param(seed=3)), True),
        (spec(extra=param(seed=None)), False),
        (spec(extra=param(temperature=False)), False),
        (spec(Task.EMBEDDING), True),
        (spec(Task.RESPONSE), False),
    ],
)
def test_only_what_leaves_nothing_to_chance_may_share(asked: JobSpec, settled: bool) -> None:
    assert Settled(asked, Dedupe.AUTO).holds("a prompt") is settled
    assert is_worthwhile(asked, Dedupe.AUTO) is settled
    assert Settled(asked, Dedupe.ALWAYS).holds("a prompt")
    assert not Settled(asked, Dedupe.NEVER).holds("a prompt")
    assert not is_worthwhile(asked, Dedupe.NEVER)


@pytest.mark.parametrize(
    ("body", "settled"),
    [
        (b'{"model":"m","temperature":0,"messages":[]}', True),
        (b'{"model":"m","temperature":0.0,"messages":[]}', True),
        (b'{"model":"m","temperature":1,"messages":[]}', False),
        (b'{"model":"m","temperature":1,"seed":4,"messages":[]}', True),
        (b'{"model":"m","temperature":null,"seed":null}', False),
        (b'{"model":"m","messages":[{"temperature":0}]}', False),
        (b'{"model":', False),
        (b'\xff{"temperature":0}', False),
    ],
)
def test_a_line_of_a_batch_speaks_for_itself(body: bytes, settled: bool) -> None:
    batch = msgspec.structs.replace(
        spec(), source=msgspec.structs.replace(SOURCE, batch=BatchHead())
    )
    assert Settled(batch, Dedupe.AUTO).holds(WireBody(body)) is settled
    assert Settled(batch, Dedupe.ALWAYS).holds(WireBody(body))
    assert is_worthwhile(batch, Dedupe.AUTO)
    assert not is_worthwhile(batch, Dedupe.NEVER)
