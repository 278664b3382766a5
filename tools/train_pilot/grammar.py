"""Composes tickets from templates, with the labels that follow from what was composed.

A ticket has one or two core sentences of one situation, and around them what
people write anyway: greetings, context, anger, hurry, signatures. The rules for
the labels, in one place:

* topic: the phrase file of the core sentences; reviews that are neither good nor
  bad have none and are never asked for one.
* sentiment: the section's; anger, or a "nice, but ..." before the core, makes it negative.
* urgency: the section's; a sentence of hurry makes it high, one of leisure low. A
  hazard and a break-in stay high whatever is said around them.
* order and product: what `{order}` and `{product}` were filled with; "" when unsaid.
"""

import random
from dataclasses import dataclass, field

from tools.train_pilot import lexicon, noise
from tools.train_pilot.templates import Section, Template, section, sections

TOPICS = ("billing", "shipping", "defect", "account", "praise")
ENDS = ".!?:,;。！）"  # noqa: RUF001


@dataclass(frozen=True)
class Ticket:
    """One text and everything we know about it."""

    text: str
    sentiment: str
    topic: str
    urgency: str
    order: str
    product: str
    templates: tuple[Template, ...]


@dataclass
class _Draft:
    """A ticket while it is put together; slots are filled once, for the whole ticket."""

    dice: random.Random
    pieces: list[str] = field(default_factory=list)
    used: list[Template] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def say(self, part: Section, held_out: bool = False) -> str:
        choices = part.side(held_out) or part.templates
        template = self.dice.choice(choices)
        self.used.append(template)
        said = template.choose(self.dice)
        slot = noise.SLOT.match(said)
        if slot and slot.group()[1:-1] in lexicon.LISTS and self.dice.random() < 0.8:
            first = lexicon.fill(slot.group()[1:-1], self.dice)
            return first[:1].upper() + first[1:] + said[slot.end() :]
        return said

    def around(self, name: str) -> str:
        """A sentence from beside the matter; these are never held out."""
        return self.dice.choice(section("around", name).templates).choose(self.dice)

    def filled(self, text: str) -> str:
        """`text` with every slot filled, order and product always the same way."""
        while match := noise.SLOT.search(text):
            slot = match.group()[1:-1]
            if slot in ("order", "product"):
                make = lexicon.order if slot == "order" else lexicon.product
                word = self.facts.setdefault(slot, make(self.dice))
                signed = text[: match.start()].rstrip().endswith("#")
                if slot == "order" and not signed and self.dice.random() < 0.15:
                    word = "#" + word
            else:
                word = lexicon.fill(slot, self.dice)
            text = text[: match.start()] + word + text[match.end() :]
        return text


def ticket(
    dice: random.Random,
    *,
    held_out: bool = False,
    extracting: bool = False,
    training: bool = False,
) -> Ticket:
    """One ticket. Its core comes from templates on the side of the split that is named.

    `extracting` asks for tickets that name orders and products more often, `training`
    for some with words left out.
    """
    draft = _Draft(dice)
    core = _core_section(dice, held_out, extracting)
    sentiment, urgency = core.sentiment, core.urgency
    plain = core.file in TOPICS and core.sentiment != "positive"
    middle = _middle(draft, core, held_out)
    if plain and core.sentiment == "negative" and dice.random() < 0.1:
        middle = f"{draft.around('happy but')} {middle[:1].lower()}{middle[1:]}"
    draft.pieces.append(middle)
    if core.file != "extract" and dice.random() < (0.75 if extracting else 0.2):
        _mention(draft)
    if plain and dice.random() < 0.12:
        draft.pieces.append(draft.around("angry"))
        sentiment = "negative"
    if plain and dice.random() < 0.2:
        draft.pieces.append(draft.around("ask"))
    if plain and dice.random() < 0.3:
        urgency = _pace(draft, urgency)
    _dress(draft)
    text, facts = _finish(draft, training)
    topic = core.file if core.file in TOPICS else ""
    order, product = facts.get("order", ""), facts.get("product", "")
    return Ticket(text, sentiment, topic, urgency, order, product, tuple(draft.used))


def _core_section(dice: random.Random, held_out: bool, extracting: bool) -> Section:
    kinds = (*TOPICS, "neutral", "extract")
    weights = [9, 9, 10, 9, 9, 3, 12 if extracting else 0]
    while True:
        found = sections(dice.choices(kinds, weights)[0])
        sizes = [len(part.side(held_out)) * _weight(part) for part in found]
        if sum(sizes):
            return dice.choices(found, sizes)[0]


def _weight(part: Section) -> float:
    """How often a template of this section is drawn, against one of an ordinary section."""
    if part.name.startswith("other languages"):
        return 0.5
    return 2.5 if part.name.endswith((" words", " things")) else 1.0


def _middle(draft: _Draft, core: Section, held_out: bool) -> str:
    said = draft.say(core, held_out)
    if core.file != "extract" and draft.dice.random() < 0.22 and core.side(held_out):
        more = draft.say(core, held_out)
        if more != said:
            said = f"{said} {more}"
    return said


def _mention(draft: _Draft) -> None:
    """Names an order, a product or both, before or after the matter."""
    name = draft.dice.choices(("both", "order only", "product only"), (5, 4, 2))[0]
    chosen = draft.dice.choice(section("extract", name).side(held_out=False))
    at = 0 if draft.dice.random() < 0.4 else len(draft.pieces)
    draft.pieces.insert(at, chosen.choose(draft.dice))


def _pace(draft: _Draft, urgency: str) -> str:
    if draft.dice.random() < 0.55:
        at = 0 if draft.dice.random() < 0.25 else len(draft.pieces)
        draft.pieces.insert(at, draft.around("hurry"))
        return "high"
    if urgency == "high":
        return urgency
    draft.pieces.append(draft.around("leisure"))
    return "low"


def _dress(draft: _Draft) -> None:
    """Context, a greeting and a signature: none of them changes a label."""
    dice = draft.dice
    while dice.random() < 0.18:
        draft.pieces.insert(dice.randint(0, len(draft.pieces)), draft.around("context"))
    if dice.random() < 0.25:
        draft.pieces.insert(0, draft.around("greeting"))
    if dice.random() < 0.2:
        draft.pieces.append(draft.around("signature"))


def _finish(draft: _Draft, training: bool) -> tuple[str, dict[str, str]]:
    dice = draft.dice
    rate = dice.choices((0.0, 0.03, 0.1), (60, 28, 12))[0]
    gap = dice.choices((" ", "\n", "\n\n"), (80, 10, 10))[0]
    pieces = [noise.typos(piece, dice, rate) if rate else piece for piece in draft.pieces]
    if training and dice.random() < 0.25:
        pieces = [noise.gappy(piece, dice, 0.12) for piece in pieces]
    if dice.random() < 0.15:
        pieces = [noise.careless(piece, dice) for piece in pieces]
    ended = [
        piece if piece[-1:] in ENDS or dice.random() < 0.3 else piece + "." for piece in pieces
    ]
    text = draft.filled(gap.join(ended))
    shares = (70, 15, 15) if training else (82, 15, 3)  # capitals are rare and hard to learn
    kind = dice.choices(("as is", "lower", "upper"), shares)[0]
    facts = {name: noise.cased(word, kind) for name, word in draft.facts.items()}
    return noise.cased(text, kind), facts
