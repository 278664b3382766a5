"""How a chat template may fail to make a text of messages; knows nothing of Jinja."""


class TemplateRefusal(ValueError):
    """The template does not take these messages; its words are the message."""


class Raised(TemplateRefusal):
    """The template says itself that it does not take these messages."""


class Endless(ValueError):
    """The template goes round and round."""
