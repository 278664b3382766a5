"""Jinja templates: what they see, what they may not do, and what it costs to try."""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import PromptSpec
from nightkiln.tables import jinja_template
from nightkiln.tables.jinja_template import TEMPLATE_FAILED, TEMPLATE_LIMIT, JinjaTemplate
from nightkiln.tables.prompts import Renderer

F = FaultClass
made: list[JinjaTemplate] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while made:
        made.pop().close()


def template(text: str) -> JinjaTemplate:
    made.append(JinjaTemplate(text))
    return made[-1]


def rendered(text: str, *rows: dict[str, Any]) -> list[str | Fault]:
    return template(text).lines([json.dumps(row, ensure_ascii=False) for row in rows or ({},)])


def message(outcome: str | Fault) -> str:
    assert isinstance(outcome, Fault), outcome
    assert (outcome.kind, outcome.code, outcome.sent) == (F.PERMANENT, TEMPLATE_FAILED, False)
    return outcome.message


def test_columns_are_names_and_row_holds_them_all() -> None:
    text = "{{ name }}, {{ row['Order ID'] }}{% if score > 3 %} *{% endif %}"
    rows: list[dict[str, Any]] = [
        {"name": "Ana", "Order ID": 7, "score": 4},
        {"name": "Bär 🙂", "Order ID": None, "score": 1},
    ]
    assert rendered(text, *rows) == ["Ana, 7 *", "Bär 🙂, "]


def test_values_print_as_they_do_in_a_plain_prompt() -> None:
    line = '{"a": 1.50, "b": true, "c": null, "d": {"x": [1, "é"]}, "e": 1e2, "f": false}'
    text = "{{ a }}|{{ b }}|{{ c }}|{{ d }}|{{ e }}|{{ f }}|{{ a * 2 }}"
    assert template(text).lines([line]) == ['1.50|true||{"x":[1,"é"]}|1e2|false|3.0']
    plain = Renderer(PromptSpec(template="{a}|{b}|{c}|{d}|{e}|{f}"), tuple("abcdef"), "jsonl")
    (said,) = plain.prompts(pa.table({"line": [line]}))
    assert isinstance(said, str)
    assert template(text).lines([line]) == [f"{said}|3.0"]


def test_what_a_value_contains_is_never_looked_at_again() -> None:
    hostile = "{{ ''.__class__ }}{% for i in range(9) %}x{% endfor %}{# #}<b>&"
    assert rendered("[{{ a }}]", {"a": hostile}) == [f"[{hostile}]"]
    assert rendered("[{{ a|tojson }}]", {"a": hostile}) == [f"[{json.dumps(hostile)}]"]


def test_lines_of_blocks_leave_no_empty_lines_behind() -> None:
    text = "a\n{% for x in xs %}\n- {{ x }}\n{% endfor %}\nb\n"
    assert rendered(text, {"xs": [1, 2]}) == ["a\n- 1\n- 2\nb"]


def test_a_table_of_columns_is_rendered_with_its_types() -> None:
    table = pa.table(
        {
            "text": ["007", None],
            "n": [1.5, float("nan")],
            "tags": [["a"], []],
            "line": ["x", "y"],
        }
    )
    spec = PromptSpec(jinja="{{ text }}|{{ n }}|{{ tags|join }}|{{ line }}")
    renderer = Renderer(spec, tuple(table.column_names), "parquet")
    assert renderer.prompts(table) == ["007|1.5|a|x", "|||y"]
    one = pa.table({"line": ["x", "y"]})  # a CSV may have a column of that name
    assert Renderer(PromptSpec(jinja="<{{ line }}>"), ("line",), "csv").prompts(one) == [
        "<x>", "<y>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ range.__self__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ '{x.__class__}'.format_map({'x': ''}) }}",
        "{{ (''.format).__self__ }}",
        "{{ row.__class__ }}",
        "{{ row._hidden }}",
        "{% set x = namespace() %}{{ x.__init__ }}",
        "{% macro m() %}{% endmacro %}{{ m.__code__ }}",
        "{{ [''.__class__]|map(attribute='__mro__')|list }}",
        "{{ row.clear() }}",
        "{{ row.update(a=1) }}",
        "{{ row.pop('a') }}",
        "{{ xs.append(1) }}",
        "{{ xs.sort() }}",
    ],
)
def test_nothing_leads_out_of_the_sandbox_or_changes_a_row(text: str) -> None:
    outcomes = rendered(text, {"a": 1, "xs": [2, 1]}, {"a": 1, "xs": [2, 1]})
    for outcome in outcomes:
        assert "line 1" in message(outcome)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a\n{{ foo", "line 2"),
        ("\n\n{% if x %}", "line 3"),
        ("{% include 'x' %}", "other templates"),
        ("{% import 'x' as y %}", "other templates"),
        ("{% from 'x' import y %}", "other templates"),
        ("{% extends 'x' %}", "other templates"),
        ("\n{{ a|nosuch }}", "line 2: No filter named 'nosuch'"),
        ("{{ a|random }}", "No filter named 'random'"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested"),
        ("x" * (TEMPLATE_LIMIT + 1), "limit"),
        ("\ud800", "Unicode"),
    ],
)
def test_a_broken_template_is_said_before_anything_runs(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        JinjaTemplate(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n{{ nmae }}", 'the template, line 2, names the column "nmae"'),
        ("{{ row.nmae }}", "line 1"),
        ("{{ row['nmae'] }}", "line 1"),
        ("{{ lipsum() }}", '"lipsum"'),
    ],
)
def test_a_name_that_is_no_column_is_said_with_the_one_that_was_meant(
    text: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Renderer(PromptSpec(jinja=text), ("id", "name"), "csv")
    assert message in caught.value.message
    if "nmae" in text:
        assert caught.value.hint == 'did you mean "name"?'


@pytest.mark.parametrize(
    "text",
    [
        "{{ nmae|default('x') }}",
        "{% if nmae is defined %}{{ nmae }}{% endif %}",
        "{% set nmae = name %}{{ nmae }}",
        "{% for nmae in [name] %}{{ loop.index }}{{ nmae }}{% endfor %}",
        "{{ row.get('nmae', '') }}{{ row.items()|length }}",
        "{{ row.nmae|default('') }}",
        "{% macro m(nmae) %}{{ nmae }}{% endmacro %}{{ m(name) }}",
        "{{ range(3)|sum }}{{ dict(a=1).a }}",
    ],
)
def test_names_that_need_no_column_are_not_asked_for(text: str) -> None:
    assert Renderer(PromptSpec(jinja=text), ("name",), "csv").flaws(pa.table({"name": ["a"]})) == {}


def test_a_row_that_fails_is_a_flaw_of_its_own_with_the_templates_line() -> None:
    renderer = Renderer(PromptSpec(jinja="{{ a }}\n{{ 6 / b }}"), ("a", "b"), "jsonl")
    lines = [
        '{"a":1,"b":2}',
        '{"a":1,"b":0}',
        '{"bb":2,"a":1}',
        '{"a":1,"b":"x"}',
        "no",
        '{"a":9,"b":3}',
    ]
    table = pa.table({"line": lines})
    flaws = renderer.flaws(table)
    assert sorted(flaws) == [1, 2, 3, 4]
    assert {flaw.code for flaw in flaws.values()} == {TEMPLATE_FAILED}
    assert flaws[1].reason == "the template, line 2: division by zero"
    assert flaws[2].reason == "the template, line 2: 'b' is undefined; did you mean \"bb\"?"
    rows = renderer.rendered(table)
    assert (rows[0], rows[5]) == ("1\n3.0", "9\n2.0")
    with pytest.raises(InputError, match="division"):
        renderer.prompts(table)


DEAF = (
    "{% set n = namespace(a=[1], b=[1]) %}"
    "{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}"
    "{{ n.a == n.b }}"
)  # two to the power of sixty comparisons in native code, which hears no signal
BOMBS = [
    "{{ 'x' * 10**9 }}",
    "{{ 'x'|center(10**9) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 9 ** 9999999 // 7 ** 5000000 }}",
    DEAF,
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_the_fault_of_its_row_and_of_no_other(bomb: str) -> None:
    one = template("{% if bomb %}" + bomb + "{% endif %}{{ n }}")
    lines = [json.dumps({"n": n, "bomb": n == 250}) for n in range(500)]
    started = time.monotonic()
    outcomes = one.lines(lines)
    assert time.monotonic() - started < 60.0
    said = message(outcomes[250])
    assert said.startswith("the template")
    assert (said == "the template takes too much time or memory") == (bomb == DEAF)
    assert [text for text in outcomes if isinstance(text, str)] == [
        str(n) for n in range(500) if n != 250
    ]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20  # KiB


SLOW = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"


def test_a_stop_ends_a_slow_row_and_the_process_that_renders_it() -> None:
    class Over(Exception):
        pass

    def go_on() -> None:
        if time.monotonic() - started > 0.3:
            raise Over

    one = template("{% if slow %}" + SLOW + "{% endif %}{{ slow }}")
    process, started = one.process_id, time.monotonic()
    with pytest.raises(Over):
        one.lines(['{"slow":true}'] * 9, go_on=go_on)
    assert time.monotonic() - started < 8.0
    assert process is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert one.lines(['{"slow":false}']) == ["false"]


def test_row_after_row_that_takes_too_long_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja_template, "SLOW_ROWS", 2)
    one = template("{% if slow %}" + SLOW + "{% endif %}{{ slow }}")
    slow, fast = '{"slow":true}', '{"slow":false}'
    assert [isinstance(text, str) for text in one.lines([slow, fast, slow, fast])] == [
        False,
        True,
        False,
        True,
    ]
    with pytest.raises(InputError, match="takes too long: 2 rows in a row were given up"):
        one.lines([fast, slow, slow, fast])


def test_a_killed_process_costs_no_row_its_text() -> None:
    one = template("{{ n }}")
    assert one.lines(['{"n":1}']) == ["1"]
    process = one.process_id
    assert process is not None
    os.kill(process, 9)
    assert one.lines(['{"n":2}', '{"n":3}']) == ["2", "3"]


def test_threads_share_one_process_and_get_their_own_rows() -> None:
    one = template("{{ n }}")
    found: dict[int, list[str | Fault]] = {}

    def ask(number: int) -> None:
        found[number] = one.lines([f'{{"n":"{number}.{i}"}}' for i in range(2500)])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, texts in found.items():
        assert texts == [f"{number}.{i}" for i in range(2500)]


def test_a_fork_starts_a_process_of_its_own() -> None:
    code = (
        "import os\n"
        "from nightkiln.tables.jinja_template import JinjaTemplate\n"
        "one = JinjaTemplate('{{ n }}')\n"
        "child = os.fork()\n"
        "texts = one.lines(['{\"n\":%d}' % (7 if child else 8)] * 1500)\n"
        "assert texts == ['7' if child else '8'] * 1500, texts[:3]\n"
        "one.close()\n"
        "if not child: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert one.lines(['{\"n\":9}']) == ['9']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_jinja_is_imported_in_the_other_process_only() -> None:
    code = (
        "import sys\n"
        "from nightkiln.core.job import PromptSpec\n"
        "from nightkiln.tables.prompts import Renderer\n"
        "import subprocess\n"
        "assert Renderer(PromptSpec(jinja='{{ a }}'), ('a',), 'csv')\n"
        "assert 'jinja2' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_same_row_gives_the_same_text_in_every_process() -> None:
    text = "{{ xs|unique|join }} {{ row|dictsort }} {{ xs|tojson }} {{ row|xmlattr }}"
    row = {"xs": [3, 1, 3], "b": 1, "a": "é"}
    assert rendered(text, row) == rendered(text, row)


def test_twenty_thousand_rows_cost_little() -> None:
    one = template("Dear {{ name }},\n{% if n > 3 %}{{ n }} times {% endif %}{{ text|trim }}")
    lines = [json.dumps({"name": f"n{n}", "n": n / 7, "text": "word " * 20}) for n in range(20_000)]
    before = time.process_time()
    assert len(one.lines(lines)) == 20_000
    own = time.process_time() - before
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    one.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    assert own + used < 3.0  # measured: 0.3; coverage and a busy machine need more


def test_prompts_of_several_kinds_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--template"):
        Renderer(PromptSpec(jinja="x", template="y"), ("a",), "csv")
