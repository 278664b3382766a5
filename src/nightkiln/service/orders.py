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
    model: str | None  # a name at the endpoint, or a file; None: the pilot
    sampling: Sampling = Sampling()
    output_schema: bytes | None = None  # the text of a JSON schema
    endpoint: str | None = None  # None: the model runs in this process
    key: str | None = None  # a reference: env:NAME or file:PATH
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 600.0  # of one attempt
    concurrency: int | None = None  # None: what suits the backend
    kv_cache_gb: int = 1  # memory for what sequences remember, in an engine of our own
    limit: int | None = None
    delimiter: str = ","
    id_column: str | None = None
    new: bool = False  # a new job even where one with the same content exists
    wait_s: float | None = 600.0  # for a backend that takes nothing; None: without limit
