"""What a face asks for when it submits a job."""

import msgspec

from nightkiln.core.job import Label, PromptSpec, Sampling, Task
from nightkiln.core.reuse import CacheUse, Dedupe
from nightkiln.plan.budget import Caps


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """Rows from Python, durable in the spool of the home that will run them."""

    path: str
    name: str  # what they came in, for screens
    sha256: str  # of the rows and their types, not of the file
    size_bytes: int
    columns: tuple[str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as the user put it; nothing in it has been checked yet."""

    input: str  # a path, or "-" for standard input; of staged rows only a name
    staged: Staged | None = None  # rows from Python instead of a file
    output: str | None  # a path, "-" for standard output; None keeps the results in the home
    input_format: str | None = None
    output_format: str | None = None
    prompt: PromptSpec
    model: str | None  # a name at the endpoint, or a file; None: the pilot
    task: Task = Task.CHAT
    sampling: Sampling = Sampling()
    output_schema: bytes | None = None  # the text of a JSON schema
    endpoint: str | None = None  # None: the model runs on this machine
    more_endpoints: tuple[str, ...] = ()  # that share the rows with the first
    key: str | None = None  # a reference: env:NAME, file:PATH or keyring:SERVICE/USER
    more_keys: tuple[str, ...] = ()  # of the same endpoint, or of the others in their order
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 600.0  # of one attempt
    concurrency: int | None = None  # None: found out, or what an engine of ours needs
    rpm: float | None = None  # requests a minute that the credential allows
    tpm: float | None = None  # tokens a minute
    caps: Caps = Caps()  # on what the job may use
    kv_cache_gb: int = 1  # memory for what sequences remember, in an engine of our own
    precision: str = "auto"  # of that engine's arithmetic: auto, f32 or bf16
    limit: int | None = None
    delimiter: str = ","
    id_column: str | None = None
    sheet: str | None = None  # of an XLSX workbook; None: the first
    excel_safe: bool = False  # no text cell of CSV or TSV begins like a formula
    encoding: str | None = None  # of the input's text; None: UTF-8
    on_bad_row: str = "error"  # error, fail or skip
    bad_rows: str | None = None  # where to write the bad rows as JSON lines
    try_rows: int | None = None  # ask so many rows first, then leave the job paused
    dedupe: Dedupe = Dedupe.AUTO  # which identical rows may share one answer
    cache: CacheUse = CacheUse.AUTO  # what becomes of the answers of earlier jobs
    new: bool = False  # a new job even where one with the same content exists
    again: bool = False  # a new job where one with the same content succeeded
    detached: bool = False  # whoever submits wants the job's id before a model is loaded
    reserved: tuple[str, ...] = ()  # columns a face adds, which the input may not have
    label: Label = Label()
    wait_s: float | None = 600.0  # for a backend that takes nothing; None: without limit
