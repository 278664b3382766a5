"""What the files of an embedding model say: how long a text may be, and how tokens become a vector.

A model is a folder in OpenVINO's form with its `tokenizer.json`. The files that
sentence-transformers writes beside them (`modules.json`, `1_Pooling`) decide
about pooling and length; where they are missing we say what we assume instead.
Reads small JSON files only; the weights stay on disk.
"""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from nightkiln.backends.engines.model_files import IR_FILE
from nightkiln.core.errors import UsageError

TOKENIZER_FILE: Final = "tokenizer.json"
DEFAULT_CONTEXT: Final = 512  # tokens, when no file says
_OFFSET_POSITIONS: Final = frozenset({"roberta", "xlm-roberta", "camembert"})
_NO_LENGTH: Final = 10**6  # tokenizers without a limit write a huge number
_POOLINGS: Final = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_NAMES: Final = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
T = TypeVar("T", bound=msgspec.Struct)


class EmbeddingFiles(msgspec.Struct, frozen=True, kw_only=True):
    """An embedding model as its files describe it."""

    path: Path
    context: int  # tokens that a text may have
    pooling: str  # mean, cls or last
    normalize: bool  # True: vectors have length 1
    pad: int = 0
    notices: tuple[str, ...] = ()  # what was assumed


class _Config(msgspec.Struct):
    model_type: str = ""
    max_position_embeddings: int | None = None
    pad_token_id: int | None = None


class _TokenizerConfig(msgspec.Struct):
    model_max_length: float | None = None


class _Sentences(msgspec.Struct):
    max_seq_length: int | None = None


class _Prompts(msgspec.Struct):
    default_prompt_name: str | None = None


class _Module(msgspec.Struct):
    path: str
    type: str

    @property
    def kind(self) -> str:
        return self.type.rpartition(".")[2]


def read_embedding(path: Path) -> EmbeddingFiles:
    """The model in this folder. Raises UsageError for one that we cannot run."""
    for name in (IR_FILE, TOKENIZER_FILE):
        if not (path / name).is_file():
            raise UsageError(
                f"{path} holds no {name}, so it is no embedding model",
                hint="name a folder that was exported for OpenVINO, with its tokenizer",
            )
    config = _read(path / "config.json", _Config) or _Config()
    modules = _modules(path)
    notices = []
    pooling, normalize = "mean", True
    if modules is None:
        notices.append(
            f"{path.name} does not say how its tokens become one vector: their mean is taken,"
            " and its length made 1"
        )
    else:
        pooling = _pooling(path, modules)
        normalize = any(module.kind == "Normalize" for module in modules)
    prompts = _read(path / "config_sentence_transformers.json", _Prompts)
    if prompts is not None and prompts.default_prompt_name:
        notices.append(
            f'{path.name} has a usual prompt, "{prompts.default_prompt_name}": it is not added,'
            " put it into --prompt if you want it"
        )
    return EmbeddingFiles(
        path=path,
        context=_context(path, config),
        pooling=pooling,
        normalize=normalize,
        pad=config.pad_token_id or 0,
        notices=tuple(notices),
    )


def _context(path: Path, config: _Config) -> int:
    """The smallest of all lengths that the files name."""
    positions = config.max_position_embeddings
    if positions is not None and config.model_type in _OFFSET_POSITIONS:
        positions -= (1 if config.pad_token_id is None else config.pad_token_id) + 1
    tokenizer = _read(path / "tokenizer_config.json", _TokenizerConfig) or _TokenizerConfig()
    sentences = _read(path / "sentence_bert_config.json", _Sentences) or _Sentences()
    said = (positions, tokenizer.model_max_length, sentences.max_seq_length)
    lengths = [int(length) for length in said if length is not None and 0 < length < _NO_LENGTH]
    return min(lengths, default=DEFAULT_CONTEXT)


def _modules(path: Path) -> list[_Module] | None:
    """The steps from text to vector as sentence-transformers lists them; None without a list."""
    file = path / "modules.json"
    if not file.is_file():
        return None
    try:
        modules = msgspec.json.decode(file.read_bytes(), type=list[_Module])
    except (OSError, msgspec.MsgspecError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}") from problem
    for module in modules:
        if module.kind not in {"Transformer", "Pooling", "Normalize"}:
            raise UsageError(
                f"{path} has a {module.kind} module, which this engine does not have",
                hint="serve the model elsewhere and name it with --endpoint",
            )
    return modules


def _pooling(path: Path, modules: list[_Module]) -> str:
    folder = next((module.path for module in modules if module.kind == "Pooling"), None)
    config = None if folder is None else _object(path / folder / "config.json")
    if not config:
        return "mean"
    named = config.get("pooling_mode")
    asked = [_NAMES.get(named, str(named))] if isinstance(named, str) else []
    asked += [
        _POOLINGS.get(key, key.removeprefix("pooling_mode_"))
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value is True
    ]
    if len(asked) != 1 or asked[0] not in _POOLINGS.values():
        raise UsageError(
            f"{path} pools its tokens by {' and '.join(asked) or 'nothing'}",
            hint="this engine takes one of: " + ", ".join(sorted(_POOLINGS.values())),
        )
    return asked[0]


def _read(file: Path, kind: type[T]) -> T | None:
    """A JSON object of the folder; None without the file."""
    found = _object(file)
    try:
        return None if found is None else msgspec.convert(found, kind)
    except msgspec.ValidationError as problem:
        raise UsageError(f"{file} cannot be read: {problem}") from problem


def _object(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}") from problem
