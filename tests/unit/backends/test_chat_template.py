"""Chat templates: what real models' templates use works, and what never ends does end."""

import datetime as dt

import pytest

from nightkiln.backends.engines.asking import Message
from nightkiln.backends.engines.chat_refusals import TemplateRefusal
from nightkiln.backends.engines.chat_template import ChatTemplate
from nightkiln.backends.engines.chat_trial import try_template
from nightkiln.core.errors import UsageError

CHAT = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
ENDLESS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
]


def rendered(source: str, said: list[Message] | None = None, **how: object) -> str:
    return ChatTemplate(source, **how).render(said or CHAT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "{% for m in messages %}{% generation %}{{ m.role }};{% endgeneration %}{% endfor %}",
            "user;assistant;user;",
        ),
        (
            "{% for n in [1, 2] %}{% if n < 2 %}{% continue %}{% endif %}2{% break %}{% endfor %}",
            "2",
        ),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        ("{{ tools is none }}{{ documents is none }}", "TrueTrue"),
        ("{% for m in messages if m.role == 'user' %}{{ loop.index }}{% endfor %}", "12"),
        (
            "{% for m in messages %}{{ loop.revindex }}{{ loop.last }}{% endfor %}",
            "3False2False1True",
        ),
    ],
)
def test_templates_get_what_hugging_faces_renderer_gives_them(source: str, text: str) -> None:
    assert rendered(source, now=dt.datetime(2024, 7, 26, tzinfo=dt.UTC)) == text


def test_json_is_written_as_it_is_and_not_for_html() -> None:
    said = [Message("user", "<é> & 'x'")]
    assert rendered("{{ messages[0].content | tojson }}", said) == "\"<é> & 'x'\""
    assert rendered("{{ messages[0] | tojson(indent=1) }}", said).startswith('{\n "role": "user"')


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[9].content.x }}", "has no element 9"),
        ("{{ {}['a']['b'] }}", "'a'"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ 'a' + 1 }}", "str"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ],
)
def test_a_template_that_fails_is_the_rows_own_fault(source: str, said: str) -> None:
    with pytest.raises(TemplateRefusal, match=said):
        rendered(source)


@pytest.mark.parametrize("source", ENDLESS)
def test_a_template_that_never_ends_is_ended(source: str) -> None:
    with pytest.raises(TemplateRefusal, match="loops without end"):
        rendered(source)


def test_a_row_has_a_budget_of_its_own() -> None:
    template = ChatTemplate("{% for n in range(90000) %}{% endfor %}x")
    assert [template.render(CHAT) for _ in range(3)] == ["x"] * 3


@pytest.mark.parametrize(
    "source", ["{{ " + "(" * 3000 + ")" * 3000 + " }}", "{% if %}", "{% nope %}"]
)
def test_a_template_that_cannot_be_compiled_is_a_usage_error(source: str) -> None:
    with pytest.raises(UsageError, match="chat template is broken"):
        ChatTemplate(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        (ENDLESS[0], "loops without end"),
        ("{{ 'x' * 10000000000 }}", "MemoryError"),
        ("{{ 'x' * 1000000 }}", "1,000,000 characters of a word"),
    ],
)
def test_a_trial_refuses_a_template_that_no_row_could_use(source: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        try_template(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content }}",
        "{{ raise_exception('never') }}",
        "{% if messages|length > 1 %}{{ 1 / 0 }}{% endif %}x",
    ],
)
def test_a_trial_leaves_to_the_rows_what_concerns_some_of_them(source: str) -> None:
    try_template(source)
