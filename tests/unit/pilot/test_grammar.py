import itertools
import json
import random
import re

import pytest

from tools.train_pilot import grammar, noise, sets, tasks
from tools.train_pilot.templates import Template, section, sections

FILES = (*grammar.TOPICS, "neutral", "extract", "around")
MANY = 1500


def drawn(seed: int, count: int = MANY, **how: bool) -> list[grammar.Ticket]:
    dice = random.Random(seed)
    return [grammar.ticket(dice, **how) for _ in range(count)]


def test_the_same_seed_writes_the_same_tickets() -> None:
    assert drawn(3, 200) == drawn(3, 200)
    assert drawn(3, 200) != drawn(4, 200)


def test_training_never_sees_a_held_out_template() -> None:
    for ticket in drawn(1, training=True) + drawn(2, extracting=True, training=True):
        assert not any(template.held_out for template in ticket.templates), ticket


def test_a_held_out_ticket_is_about_a_held_out_template() -> None:
    assert all(ticket.templates[0].held_out for ticket in drawn(3, held_out=True))


def test_every_topic_has_templates_on_both_sides_of_the_split() -> None:
    for topic in grammar.TOPICS:
        parts = sections(topic)
        held_out = sum(len(part.side(held_out=True)) for part in parts)
        seen = sum(len(part.side(held_out=False)) for part in parts)
        assert held_out >= 5, topic
        assert seen >= 5 * held_out / 2, topic


def test_the_split_follows_from_the_text_alone() -> None:
    assert Template("Where is my parcel?").held_out == Template("Where is my parcel?").held_out
    shares = [Template(f"line {at}").held_out for at in range(6000)]
    assert 800 < sum(shares) < 1200


@pytest.mark.parametrize("file", FILES)
def test_every_template_opens_into_text_with_every_slot_known(file: str) -> None:
    dice = random.Random(5)
    for part in sections(file):
        for template in part.templates:
            draft = grammar._Draft(dice)
            said = draft.filled(template.choose(dice))
            assert said.strip(), template
            assert not re.search(r"[{}|]", said.replace("=|", "")), said


@pytest.mark.parametrize("text", ["a (b|c", "a b) c", "(a|(b|c)"])
def test_a_bracket_without_its_partner_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bracket"):
        Template(text).choose(random.Random(0))


def test_alternatives_nest() -> None:
    dice = random.Random(0)
    said = {Template("a (b|c (d|e))").choose(dice) for _ in range(100)}
    assert said == {"a b", "a c d", "a c e"}


def test_labels_are_of_the_kinds_we_name() -> None:
    for ticket in drawn(6):
        assert ticket.topic in {*grammar.TOPICS, ""}
        assert ticket.sentiment in {"positive", "negative", "neutral"}
        assert ticket.urgency in {"low", "medium", "high"}


def test_praise_is_positive_and_never_urgent() -> None:
    for ticket in drawn(7):
        assert (ticket.topic == "praise") == (ticket.sentiment == "positive"), ticket
        assert ticket.topic != "praise" or ticket.urgency == "low", ticket


def test_the_order_and_the_product_stand_in_the_text_as_they_are_labelled() -> None:
    for ticket in drawn(8, extracting=True, training=True):
        assert ticket.order in ticket.text, ticket
        assert ticket.product in ticket.text, ticket
        assert not ticket.order.startswith("#")


def test_a_hazard_stays_urgent_whatever_is_said_around_it() -> None:
    hazards = {*section("defect", "hazard").templates, *section("account", "security").templates}
    found = [ticket for ticket in drawn(9, 4000) if hazards & set(ticket.templates)]
    assert found
    assert {ticket.urgency for ticket in found} == {"high"}


def test_tickets_are_short_and_long() -> None:
    lengths = [len(ticket.text.split()) for ticket in drawn(10)]
    assert min(lengths) <= 3
    assert max(lengths) >= 40


def test_noise_leaves_slots_alone() -> None:
    dice = random.Random(11)
    for _ in range(300):
        said = noise.typos("my {product} of order {order} is terribly broken", dice, 0.9)
        assert "{product}" in said
        assert "{order}" in said
        assert "{product}" in noise.gappy("the {product} is very very old", dice, 0.9)


def test_leaving_words_out_never_drops_a_denial() -> None:
    dice = random.Random(12)
    for denial in ("not", "never", "can't", "no", "without"):
        assert denial in noise.gappy(f"it is {denial} here", dice, 1.0).split()


@pytest.mark.parametrize("task", sets.TASKS)
def test_answers_say_what_the_labels_say(task: str) -> None:
    dice = random.Random(13)
    for _ in range(300):
        made = tasks.example(dice, task=task)
        if made.task in tasks.SINGLES:
            assert made.answer == getattr(made.source, made.task)
            continue
        told = json.loads(made.answer)
        assert told == {name: getattr(made.source, name) for name in told}


def test_scored_spans_of_a_forced_shape_are_its_values() -> None:
    dice = random.Random(14)
    ticket = drawn(15, 1)[0]
    text, spans = tasks.written(ticket, ("topic", "order"), dice, forced=True)
    assert [text[a:b] for a, b in spans] == [f'{ticket.topic}"', f'{ticket.order}"']


def test_a_question_never_shows_an_answer_field_it_did_not_ask_for() -> None:
    assert tasks.worded("Give {fields} as JSON.", ["topic", "order"]) == (
        "Give topic and order as JSON."
    )
    assert tasks.worded("Fill in: {shape}", ["topic"]) == 'Fill in: {"topic": "..."}'


def test_the_shipped_sets_are_what_the_grammar_draws() -> None:
    from nightkiln import pilot

    for held_out, name in ((False, "seen_templates"), (True, "held_out_templates")):
        shipped = sets.read(pilot.data_folder() / f"{name}.jsonl")
        assert len(shipped) >= 300
        assert shipped == sets.drawn(held_out, len(shipped))


def test_the_hand_written_rows_are_sixty_and_of_every_topic() -> None:
    asked = sets.hand_written()
    for task, kinds in (("topic", 5), ("sentiment", 3), ("urgency", 3)):
        assert len(asked[task]) >= 60
        assert len({one.answer for one in asked[task]}) == kinds
    for one, other in itertools.combinations(asked["topic"], 2):
        assert one.prompt != other.prompt
