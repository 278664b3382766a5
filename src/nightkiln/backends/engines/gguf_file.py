"""What a GGUF file says about its model. Reads metadata only; the weights stay on disk."""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from nightkiln.backends.engines.extra import needed
from nightkiln.core.errors import UsageError

CONTROL: Final = 3  # the type of a token that marks and says nothing
_MAGIC: Final = b"GGUF"
T = TypeVar("T")


class GGUFMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a GGUF file's metadata that we use."""

    name: str = ""
    architecture: str
    context: int | None = None  # tokens
    token_numbers: int | None = None  # kept for a token of a sequence; None: not said plainly
    template: str | None = None  # the chat template, Jinja
    tokenizer: str = ""  # gpt2: byte-level BPE
    pre: str = ""  # how text is cut before the merges
    tokens: tuple[str, ...] = ()
    types: tuple[int, ...] = ()
    merges: tuple[str, ...] = ()
    bos: int | None = None
    eos: int | None = None
    end_of_turn: int | None = None
    add_bos: bool = False

    @property
    def control(self) -> tuple[str, ...]:
        """The texts of the control tokens."""
        kinds = zip(self.tokens, self.types, strict=False)
        return tuple(token for token, kind in kinds if kind == CONTROL)


def is_gguf(path: Path) -> bool:
    """True for a file that begins as GGUF files do."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_metadata(path: Path) -> GGUFMetadata:
    """The metadata of a GGUF file. Raises UsageError when it cannot be read or used."""
    try:
        fields = needed("gguf").GGUFReader(path).fields
    except (ValueError, KeyError, IndexError, OverflowError, OSError) as problem:
        raise UsageError(f"{path} cannot be read as GGUF: {problem}") from problem
    found = _found(path, fields)
    if not found.architecture:
        raise UsageError(
            f"{path} does not say its model's architecture", hint="fetch or convert the file again"
        )
    return found


def _found(path: Path, fields: Any) -> GGUFMetadata:
    """What is used of the fields of a file. Raises UsageError for one of another kind."""

    def get(key: str, kind: type[T], default: T | None = None) -> Any:
        field = fields.get(key)
        try:
            value = default if field is None else field.contents()
            return value if value is None else kind(value)  # type: ignore[call-arg]
        except (ValueError, TypeError, LookupError) as problem:
            raise UsageError(f"{path}: {key} cannot be read: {problem}") from problem

    ggml = "tokenizer.ggml"
    architecture = get("general.architecture", str, "")
    return GGUFMetadata(
        name=get("general.name", str, ""),
        architecture=architecture,
        context=get(f"{architecture}.context_length", int),
        token_numbers=_token_numbers(fields, architecture),
        template=get("tokenizer.chat_template", str),
        tokenizer=get(f"{ggml}.model", str, ""),
        pre=get(f"{ggml}.pre", str, "default"),
        tokens=get(f"{ggml}.tokens", tuple, ()),
        types=get(f"{ggml}.token_type", tuple, ()),
        merges=get(f"{ggml}.merges", tuple, ()),
        bos=get(f"{ggml}.bos_token_id", int),
        eos=get(f"{ggml}.eos_token_id", int),
        end_of_turn=get(f"{ggml}.eot_token_id", int),
        add_bos=get(f"{ggml}.add_bos_token", bool, False),
    )


def _token_numbers(fields: Any, architecture: str) -> int | None:
    """Keys and values of all layers, where every layer has as many."""

    def said(name: str) -> int | None:
        field = fields.get(f"{architecture}.{name}")
        value = None if field is None else field.contents()
        return value if isinstance(value, int) else None

    layers, heads, width = (
        said("block_count"),
        said("attention.head_count"),
        said("embedding_length"),
    )
    if not layers or not heads or not width:
        return None
    key = said("attention.key_length") or width // heads
    value = said("attention.value_length") or width // heads
    kept = said("attention.head_count_kv") or heads
    return layers * kept * (key + value)
