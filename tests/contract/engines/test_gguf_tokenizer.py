"""The tokenizer rebuilt from a GGUF file is the one the model was trained with."""

from pathlib import Path
from types import ModuleType

import pytest

from nightkiln.backends.engines.gguf_file import read_metadata
from nightkiln.backends.engines.gguf_tokenizer import CUTS, SAMPLES, rebuilt
from nightkiln.core.errors import UsageError

TEXTS = [*SAMPLES, "<|im_start|>user\nhi<|im_end|>\n", "", "    ", "1\n\n\n2", "x" * 300, "\x00é"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_cut_as_by_the_original(tiny: ModuleType, model: Path, text: str) -> None:
    own = rebuilt(read_metadata(model))
    assert own is not None
    ids = own.encode(text)
    assert ids == tiny.train_tokenizer().encode(text).ids
    assert own.decode(ids) == tiny.train_tokenizer().decode(ids)


@pytest.mark.parametrize("pre", CUTS)
def test_every_way_of_cutting_gives_the_text_back(
    tiny: ModuleType, tmp_path: Path, pre: str
) -> None:
    own = rebuilt(read_metadata(tiny.write_model(tmp_path / "m.gguf", pre=pre)))
    assert own is not None
    for text in SAMPLES:
        assert own.decode(own.encode(text)) == text


def test_an_unknown_way_of_cutting_is_not_guessed(tiny: ModuleType, tmp_path: Path) -> None:
    path = tiny.write_model(tmp_path / "m.gguf", pre="something-new")
    assert rebuilt(read_metadata(path)) is None


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + b"\x07" * 60)
    with pytest.raises(UsageError, match="cannot be read"):
        read_metadata(path)
