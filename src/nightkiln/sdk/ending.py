"""What a thread hears that asks for something when the process ends."""

from nightkiln.core.errors import UsageError
from nightkiln.sdk.wording import in_python


def ending() -> UsageError:
    """The error for work that no thread can take any more."""
    error = UsageError(
        "the main thread has ended, and the process with it: nothing can be asked any more",
        hint="keep the main thread until the others are done: thread.join()",
    )
    in_python(error)
    return error
