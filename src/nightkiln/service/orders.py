"""What a face asks for when it submits a job."""

import msgspec

from nightkiln.core.job import PromptSpec, Sampling


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as the user put it; nothing in it has been checked yet."""

    input: str  # a path, or "-" for standard input
    output: str | None  # a path, "-" for standard output; None keeps the results in the home
    input_format: str | None = None
    output_format: str | None = None
    prompt: PromptSpec
    model: str
    sampling: Sampling = Sampling()
    output_schema: bytes | None = None  # the text of a JSON schema
    endpoint: str
    key: str | None = None  # a reference: env:NAME or file:PATH
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 600.0  # of one attempt
    concurrency: int = 64
    limit: int | None = None
    delimiter: str = ","
    id_column: str | None = None
    new: bool = False  # a new job even where one with the same content exists
    wait_s: float | None = 600.0  # for a backend that takes nothing; None: without limit
