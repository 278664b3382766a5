"""The pilot: a model of our own, small enough to ship, for trying the pipeline.

It sorts support tickets and product reviews and nothing else. This package says
where the file lies and which wordings the model was trained to understand; it
never loads the model and imports nothing heavy.
"""

from pathlib import Path
from typing import Final

SENTIMENTS: Final = ("positive", "negative", "neutral")
TOPICS: Final = ("billing", "shipping", "defect", "account", "praise")
URGENCIES: Final = ("low", "medium", "high")
FIELDS: Final = ("sentiment", "topic", "urgency", "order", "product")

#: Answered with one word, the topic.
TOPIC_INSTRUCTIONS: Final = (
    (
        "Classify this ticket as billing, shipping, defect, account or praise."
        " Answer with that one word."
    ),
    "Which topic is this ticket about: billing, shipping, defect, account or praise?",
    "What is this ticket about? Answer with one of: billing, shipping, defect, account, praise.",
    "Topic (billing, shipping, defect, account or praise)?",
    "Name the topic of this message.",
    "Label the topic of the following ticket.",
    "Which team should answer this: billing, shipping, defect, account or praise?",
    "Give the topic in one word.",
)

#: Answered with one word, the sentiment.
SENTIMENT_INSTRUCTIONS: Final = (
    "Is the sentiment of this message positive, negative or neutral? Answer with one word.",
    "Classify the sentiment as positive, negative or neutral.",
    "What is the sentiment of this review?",
    "Sentiment (positive, negative or neutral)?",
    "How does the customer feel: positive, negative or neutral?",
    "Is this customer happy? Answer positive, negative or neutral.",
    "Label the sentiment of the following text.",
    "Give the sentiment in one word.",
)

#: Answered with one word, the urgency.
URGENCY_INSTRUCTIONS: Final = (
    "How urgent is this ticket: low, medium or high? Answer with one word.",
    "Rate the urgency as low, medium or high.",
    "What is the urgency of this ticket?",
    "Urgency (low, medium or high)?",
    "Give the urgency in one word.",
    "How soon must we answer this? Say low, medium or high urgency.",
    "Label the urgency of the following message.",
    "Set the priority of this ticket: low, medium or high.",
)

#: Answered with {"order": "...", "product": "..."}; what is missing is "".
EXTRACT_INSTRUCTIONS: Final = (
    "Extract the order number and the product as JSON.",
    'Extract order number and product as JSON: {"order": "...", "product": "..."}',
    "Which order and which product is this about? Answer as JSON.",
    "Find the order number and the product. Reply with JSON only.",
    "Give the order number and the product named in this text as JSON.",
    'Return {"order": "...", "product": "..."} for this message.',
    "Pull out the order number and the product in one line of JSON.",
)

#: Answered with one JSON object. `{fields}` is any choice of FIELDS in any order,
#: written as `sentiment, topic and urgency`; `{shape}` the same as a JSON object.
FIELDS_INSTRUCTIONS: Final = (
    "Classify this ticket as JSON with the fields {fields}.",
    "Answer with a JSON object with {fields}.",
    "Give {fields} as JSON.",
    "Return JSON with {fields} for this ticket.",
    "Classify this ticket: {fields}.",
    "Determine {fields} of this message. Reply with JSON only.",
    "Fill in this JSON for the ticket: {shape}",
    "Answer as JSON: {shape}",
)


def path() -> Path:
    """Where the model file lies: GGUF, tokenizer and chat template included."""
    return Path(__file__).with_name("pilot.gguf")


def data_folder() -> Path:
    """Where the evaluation sets lie: one JSON object per line and row."""
    return Path(__file__).with_name("data")
