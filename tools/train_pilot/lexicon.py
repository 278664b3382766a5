"""The words that fill the slots of a template: products, numbers, names, times.

Products and order numbers are what the model must learn to copy, so many of them
are made up on the spot; a list alone would be learned by heart.
"""

import random

from tools.train_pilot.templates import sections


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if "|" in text else tuple(text.split())


SINGLE_WORDS = _listed(
    """kettle toaster lamp chair desk shelf sofa mattress blanket pillow jacket coat sweater shirt
    dress skirt boots sneakers sandals backpack suitcase handbag wallet belt watch ring necklace
    headphones earbuds speaker microphone keyboard mouse monitor laptop tablet phone charger
    cable printer scanner camera tripod drone router modem projector television radio console
    controller vacuum blender mixer oven microwave fridge freezer dishwasher dryer iron fan
    heater humidifier thermostat drill saw hammer ladder mower hose grill tent stove cooler
    bicycle helmet scooter skates kayak racket treadmill dumbbell stroller crib doll puzzle
    robot guitar violin piano drum notebook pen stapler calendar mug plate knife pan pot scale
    vase candle mirror carpet curtain faucet shower toothbrush razor hairdryer perfume teapot
    thermos umbrella sunglasses scarf gloves socks hat poster novel cookbook dictionary"""
)

PAIRS = _listed(
    "power bank|smart watch|coffee machine|rice cooker|air fryer|night light|garden table|"
    "baby monitor|door bell|sewing machine|washing machine|electric shaver|wine rack|bath towel|"
    "bed frame|water bottle|lunch box|bird feeder|fish tank|dog bed|cat tree|phone case|"
    "screen protector|hard drive|memory card|game pad|yoga mat|rain jacket|coffee grinder|"
    "desk lamp|office chair|mountain bike|hiking boots|running shoes|standing desk|pressure cooker"
)

PRODUCTS = SINGLE_WORDS + PAIRS
ADJECTIVES = _listed(
    "blue|red|green|black|white|yellow|grey|brown|pink|large|small|wooden|leather|folding|wireless|"
    "electric|portable|ceramic|steel|cotton|waterproof|mini|digital|foldable|cordless|silver"
)
SYLLABLES = _listed("ve xo lu mi ka to ra zen dor pal fin gro bas ti nor el qua sil mar jo bek rix")
PARTS = _listed(
    "handle|lid|hinge|button|strap|zipper|wheel|leg|cable|plug|battery|cover|screen|hose|switch|"
    "lens|drawer|door|seam|sole|buckle|hook|spring|blade|motor|bracket|knob|clasp|glass|frame|"
    "fan|rail|stand|sleeve|pocket|pedal|brake|chain|display|latch"
)
NAMES = _listed(
    "Anna|Peter|Maria|John|Lena|Omar|Sofia|Chen|Amir|Julia|Marco|Nina|Tom|Eva|Lucas|Aisha|Paul|"
    "Kofi|Ida|Raj|Laura|Diego|Mei|Jan|Emma|Hugo|Sam|Olga|Ben|Zoe|Karl|Fatma|Yusuf|Bea|Leo|Ruth"
)
SURNAMES = _listed(
    "Miller|Garcia|Nowak|Smith|Hansen|Rossi|Khan|Silva|Weber|Dubois|Tanaka|Okoro|Berg|Lopez|Kim|"
    "Novak|Singh|Jones|Costa|Fischer|Larsen|Moreau|Haddad|Brown|Ivanov|Santos"
)
CITIES = _listed(
    "Berlin|Madrid|Lyon|Porto|Oslo|Leeds|Milan|Krakow|Ghent|Austin|Boston|Dublin|Vienna|Prague|"
    "Athens|Lagos|Osaka|Turin|Bergen|Graz|Nantes|Seville|Denver|Malmo|Cork|Basel|Sicily|Hawaii"
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = _listed(
    "January|February|March|April|May|June|July|August|September|October|November|December"
)
NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve")
KINDNESS = _listed(
    "the quick reply|your help|the fast delivery|the great service|being so patient|the refund|"
    "replacing the {part}|the lovely note|solving my problem|the good advice|the free sample|"
    "the careful packing|the honest answer|calling me back|the surprise in the box|your support|"
    "the repair|helping my {person}|the new {part}|sorting out the invoice|finding my parcel|"
    "unlocking my account|such a good {thing}|staying late for us|the upgrade|making it so easy|"
    "the kind words|the extra effort|everything|exchanging the {thing} so quickly"
)
PEOPLE = _listed(
    "mother|father|son|daughter|wife|husband|sister|brother|aunt|boss|friend|neighbour"
)
EVENTS = _listed("wedding|birthday|exam|trip|meeting|opening|party|flight|move|concert|holiday")
CARDS = ("Visa", "Mastercard", "PayPal", "Amex", "Apple Pay", "debit card", "Klarna")


def order(dice: random.Random) -> str:
    """An order number as shops write them, the sign # never part of it."""
    digits = "".join(dice.choices("0123456789", k=dice.randint(4, 8)))
    kind = dice.random()
    if kind < 0.62:
        return digits
    letters = "".join(dice.choices("ABCDEFGHKLMNPRSTVWXZ", k=dice.randint(1, 3)))
    return f"{letters}-{digits}" if kind < 0.9 else f"{letters}{digits}"


def product(dice: random.Random) -> str:
    """A product as a customer names it, sometimes with a make nobody has seen before."""
    noun = dice.choice(PRODUCTS)
    kind = dice.random()
    if kind < 0.55:
        return noun
    if kind < 0.93:
        return f"{dice.choice(ADJECTIVES)} {noun}"
    make = "".join(dice.choices(SYLLABLES, k=dice.randint(2, 3))).capitalize()
    return (
        f"{make} {noun}" if kind < 0.98 else f"{make} {dice.choice('ABCXZ')}{dice.randint(1, 99)}"
    )


def fill(slot: str, dice: random.Random) -> str:
    """One filling of a slot that no label depends on. Raises KeyError for an unknown slot."""
    if slot in LISTS:
        return dice.choice(LISTS[slot])
    return _made(slot, dice)


def _made(slot: str, dice: random.Random) -> str:  # noqa: PLR0911
    number = dice.randint(2, 30)
    month, weekday = dice.choice(MONTHS), dice.choice(WEEKDAYS)
    match slot:
        case "money":
            amount = f"{dice.randint(1, 399)}{dice.choice(('', '.99', '.50', ',90', '.00', ',20'))}"
            shapes = ("{} euros", "${}", "{} €", "€{}", "£{}", "{} EUR", "{} pounds", "{} dollars")
            return dice.choice(shapes).format(amount)
        case "percent":
            return f"{dice.randrange(5, 95, 5)}{dice.choice((' %', '%', ' percent'))}"
        case "n":
            return str(dice.randint(2, 12))
        case "days" | "years":
            count = dice.choice((*NUMBER_WORDS, str(number)))
            unit = "years" if slot == "years" else dice.choice(("days", "days", "weeks", "months"))
            return f"{count} {unit}"
        case "date":
            days = ("the {n}th", "{m} {n}", "{n} {m}", "{n}.{k}.", "the {n}th of {m}", "{w}")
            k = dice.randint(1, 12)
            return dice.choice(days).format(n=dice.randint(4, 20), m=month, w=weekday, k=k)
        case "invoice":
            head = dice.choice(("", "", "R-", "INV-", "2026-"))
            return head + str(dice.randint(1000, 999999))
        case "phone":
            return f"0{dice.randint(100, 999)} {dice.randint(10000, 9999999)}"
        case "code":
            word = dice.choice(("SPRING", "HELLO", "SAVE", "WELCOME", "SUMMER", "BLACK", "VIP"))
            return f"{word}{dice.randint(5, 50)}"
        case "version":
            return f"{dice.randint(1, 9)}.{dice.randint(0, 20)}"
        case "name":
            first = dice.choice(NAMES)
            return first if dice.random() < 0.5 else f"{first} {dice.choice(SURNAMES)}"
        case "company":
            tail = dice.choice(("Ltd", "GmbH", "Inc", "and Sons", "Studio", "SARL", "School"))
            return f"{dice.choice(SURNAMES)} {tail}"
    raise KeyError(f"no such slot: {slot}")


LISTS: dict[str, tuple[str, ...]] = {
    "thing": PRODUCTS,
    "part": PARTS,
    "city": CITIES,
    "weekday": WEEKDAYS,
    "month": MONTHS,
    "card": CARDS,
    "person": PEOPLE,
    "event": EVENTS,
    "kindness": KINDNESS,
}
LISTS |= {part.name: _listed(part.templates[0].text) for part in sections("words")}
