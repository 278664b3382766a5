"""An encoder that turns texts into vectors, as a machine of steps in an engine's process.

OpenVINO GenAI has a text embedding pipeline, but it takes texts only, cuts long
ones without a word and needs the model's tokenizer converted to a graph beside
the model. So we tokenise here and run the graph with OpenVINO itself.

A step is one batch. A batch costs as much as its longest text times its rows,
so texts of like length go together: all that wait are sorted by length and cut
into runs that each hold at most a number of tokens, padding counted, and the
run that has the longest waiting request is next. Nobody waits forever, and
whoever arrives together is answered together. What a text's vector is does not
depend on what else is in its batch: padding is masked out.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from nightkiln.backends.engines.embedding_files import TOKENIZER_FILE, read_embedding
from nightkiln.backends.engines.extra import needed
from nightkiln.backends.engines.machine import NotTaken
from nightkiln.backends.engines.messages import Ask, Ended, Learn, Load, Loaded
from nightkiln.backends.engines.model_files import IR_FILE
from nightkiln.core.errors import UsageError

BATCH_TOKENS: Final = 4096  # of one step, padding counted: a fraction of a second's work
BATCH_ROWS: Final = 256
NOT_FINITE: Final = "not_finite"  # an Ended's reason
_FEEDS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
_VECTORS: Final = "sentence_embedding"  # an output that is pooled already


class EmbeddingMachine:
    """A loaded encoder. Takes texts, tells each as a JSON array of numbers."""

    def __init__(self, load: Load) -> None:
        path = Path(load.model)
        self._np: Any = needed("numpy")
        self._context = load.context
        self._files = read_embedding(path)
        self._tokenizer = _tokenizer(path / TOKENIZER_FILE)
        precision = {"INFERENCE_PRECISION_HINT": load.precision} if load.precision != "auto" else {}
        openvino = needed("openvino")
        try:
            model = openvino.Core().compile_model(
                str(path / IR_FILE), "CPU", {**precision, **load.properties}
            )
        except RuntimeError as problem:
            raise UsageError(f"{path} cannot be loaded as an embedding model") from problem
        self._feeds = _feeds(path, model)
        self._output, self._is_pooled = _output(path, model)
        self._request = model.create_infer_request()
        self._waiting: dict[int, list[int]] = {}  # ids by request, in order of arrival
        self._ended: list[Ended] = []

    def loaded(self) -> Loaded:
        """There is nothing to tell: encoders chat with nobody."""
        return Loaded()

    def learn(self, learn: Learn) -> None:
        """Nothing is sampled here."""

    def forget(self, numbers: list[int]) -> None:
        """Nothing is sampled here."""

    def begin(self, ask: Ask) -> None:
        """Take a text in. Raises NotTaken for one the model cannot read."""
        ids: list[int] = self._tokenizer.encode(ask.text).ids
        if len(ids) > self._context:
            raise NotTaken(
                "context_length_exceeded",
                f"{len(ids)} tokens do not fit the model's {self._context}",
            )
        if not ids:
            raise NotTaken("empty_input", "the text has no tokens")
        self._waiting[ask.number] = ids

    def step(self) -> None:
        """Answer one batch."""
        if not self._waiting:
            return
        numbers = next_batch(self._waiting)
        rows = [self._waiting.pop(number) for number in numbers]
        vectors = self.vectors(rows)
        fine = self._np.isfinite(vectors).all(axis=1).tolist()
        for number, ids, text, is_fine in zip(
            numbers, rows, json_arrays(vectors, self._np), fine, strict=True
        ):
            reason = "stop" if is_fine else NOT_FINITE
            self._ended.append(
                Ended(number, [], reason, prompt=len(ids), text=text if is_fine else None)
            )

    def finished(self) -> list[Ended]:
        """The requests that have ended; each is told once."""
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, number: int) -> None:
        """Give up a request."""
        self._waiting.pop(number, None)
        self._ended = [ended for ended in self._ended if ended.number != number]

    def vectors(self, rows: Sequence[Sequence[int]]) -> Any:
        """One vector per row, from its ids; of any number of rows at once."""
        np = self._np
        lengths = np.array([len(ids) for ids in rows])
        ids = np.full((len(rows), lengths.max()), self._files.pad, dtype=np.int64)
        for row, given in zip(ids, rows, strict=True):
            row[: len(given)] = given
        places = np.arange(ids.shape[1])
        mask = places < lengths[:, None]
        made = {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.broadcast_to(places.astype(np.int64), ids.shape),
        }
        results = self._request.infer({name: made[name] for name in self._feeds})
        found = results[self._output].astype(np.float32, copy=False)
        vectors = found if self._is_pooled else self._pooled(found, mask, lengths)
        if self._files.normalize:
            size = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
            vectors = vectors / np.maximum(size, np.float32(1e-12))
        return vectors

    def _pooled(self, hidden: Any, mask: Any, lengths: Any) -> Any:
        np = self._np
        if self._files.pooling == "cls":
            return hidden[:, 0]
        if self._files.pooling == "last":
            return hidden[np.arange(len(hidden)), lengths - 1]
        sums = (mask[:, None, :].astype(np.float32) @ hidden)[:, 0]
        return sums / lengths[:, None].astype(np.float32)


def next_batch(waiting: Mapping[int, Sequence[int]]) -> list[int]:
    """The requests of the next step: neighbours in length, the longest waiting one among them."""
    oldest = next(iter(waiting))
    return next(run for run in _runs(waiting) if oldest in run)


def _runs(waiting: Mapping[int, Sequence[int]]) -> Iterator[list[int]]:
    """All that wait, from the longest to the shortest, cut where a batch is full."""
    run: list[int] = []
    longest = 0
    for number in sorted(waiting, key=lambda number: -len(waiting[number])):
        if run and ((len(run) + 1) * longest > BATCH_TOKENS or len(run) == BATCH_ROWS):
            yield run
            run = []
        if not run:
            longest = len(waiting[number])
        run.append(number)
    yield run


def json_arrays(vectors: Any, np: Any) -> list[str]:
    """Each vector as a JSON array: for every number the fewest digits that mean this float32.

    Arrow writes them; a loop over the numbers would cost more than some models do.
    """
    rows, width = vectors.shape
    numbers = pa.array(np.ascontiguousarray(vectors).reshape(-1)).cast(pa.string())
    ends = pa.array(np.arange(0, rows * width + 1, width, dtype=np.int32))
    lists = pa.ListArray.from_arrays(ends, numbers)
    return [f"[{text}]" for text in pc.binary_join(lists, ",").to_pylist()]


def _tokenizer(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        msgspec.json.decode(text, type=dict[str, Any])
    except (OSError, ValueError) as problem:  # the library's own error has no class of its own
        raise UsageError(f"{file} cannot be read: {problem}") from problem
    tokenizer = needed("tokenizers").Tokenizer.from_str(text)
    tokenizer.no_truncation()  # a text that is too long is refused, never cut
    tokenizer.no_padding()
    return tokenizer


def _feeds(path: Path, model: Any) -> tuple[str, ...]:
    """The names of what the model wants to be given."""
    names = [_known(port, _FEEDS) for port in model.inputs]
    if None in names or "input_ids" not in names:
        asked = ", ".join(_names(model.inputs))
        raise UsageError(f"{path} is no text encoder: it wants {asked}")
    return tuple(name for name in names if name is not None)


def _output(path: Path, model: Any) -> tuple[Any, bool]:
    """Where the vectors come out, and whether they are pooled already."""
    for wanted, is_pooled, rank in ((_VECTORS, True, 2), ("last_hidden_state", False, 3)):
        for port in model.outputs:
            if wanted in port.get_names() and len(port.get_partial_shape()) == rank:
                return port, is_pooled
    tokens = [port for port in model.outputs if len(port.get_partial_shape()) == 3]
    if len(tokens) != 1:
        found = ", ".join(_names(model.outputs))
        raise UsageError(f"{path} is no text encoder: it gives {found}")
    return tokens[0], False


def _known(port: Any, names: frozenset[str]) -> str | None:
    return next((name for name in port.get_names() if name in names), None)


def _names(ports: Sequence[Any]) -> list[str]:
    return [min(port.get_names(), default="something without a name") for port in ports]
