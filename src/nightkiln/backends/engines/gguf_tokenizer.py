"""The tokenizer of a GGUF model, rebuilt from its file.

Engines that read GGUF cut some texts differently from the tokenizer the model
was trained with, because the file names only the way of cutting (`pre`), not
its expressions. For byte-level BPE with a `pre` we know, we build the original
and pass ids. Nothing here guesses: for any other model the answer is None.
"""

import functools
from typing import Any, Final

import msgspec

from nightkiln.backends.engines.control_text import ControlTexts, shown
from nightkiln.backends.engines.extra import needed
from nightkiln.backends.engines.gguf_file import CONTROL, GGUFMetadata

_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDINGS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """How text is cut into pieces before the merges, one expression after the other."""

    patterns: tuple[str, ...]
    whole_words: bool = False  # a piece that is a token is taken without merging


# Every digit apart, and then as GPT-2 does: in one expression, which takes two thirds of the time.
# White space before a digit is white space before a cut, so it is not held back for the next word.
_DIGITS_FIRST: Final = Cut(
    patterns=(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+",),
)
_ONE_DIGIT: Final = Cut(
    patterns=(rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}",),
)
_THREE_DIGITS: Final = Cut(
    patterns=(rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}",),
    whole_words=True,
)
_DEFAULT: Final = Cut(
    patterns=(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
)
CUTS: Final = {
    "gpt-2": Cut(patterns=(_GPT2,)),
    "llama-bpe": _THREE_DIGITS,
    "llama3": _THREE_DIGITS,
    "llama-v3": _THREE_DIGITS,
    "smollm": _DIGITS_FIRST,
    "starcoder": _DIGITS_FIRST,
    "qwen2": _ONE_DIGIT,
    "default": _DEFAULT,
}
_USER_DEFINED: Final = 4  # a type of token: text that is never cut
SAMPLES: Final = (
    "Hello, world!",
    " order 1 of 12, or 12345?",
    "it's  two\n\n spaces\tand\r\nlines ",
    "naïve café — 東京 🙂",
    "a_b(c) == {'d': [1, 2]}; // e",
)


class OwnTokenizer:
    """Text to ids and back. Safe to use from any thread."""

    def __init__(self, metadata: GGUFMetadata, cut: Cut) -> None:
        self._tokenizer = _built(metadata, cut)
        self._of = (metadata, cut)
        bos = metadata.bos if metadata.add_bos else None
        self._begin = [] if bos is None else [bos]
        self._control = ControlTexts(metadata.control)

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """The ids of a text; of a `whole` prompt also the token it has to begin with."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._begun(ids) if whole else ids

    def encode_hidden(self, text: str, letters: dict[str, str]) -> list[int]:
        """The ids of a whole prompt whose private characters stand for texts that are no tokens.

        A control token cuts a text for whoever reads it, so the pieces between
        those of the template have the ids that they have in the whole.
        """
        ids: list[int] = []
        for number, piece in enumerate(self._control.pieces(text)):
            if number % 2:
                ids.append(self._tokenizer.token_to_id(piece))
            elif piece:
                plain = shown(piece, letters)
                ids += self._plain.encode(plain, add_special_tokens=False).ids
        return self._begun(ids)

    def _begun(self, ids: list[int]) -> list[int]:
        return self._begin + ids if self._begin and ids[:1] != self._begin else ids

    @functools.cached_property
    def _plain(self) -> Any:
        """The same tokenizer, for which a control token is a text as any other."""
        plain = _built(*self._of)
        plain.encode_special_tokens = True
        return plain

    def decode(self, ids: list[int]) -> str:
        """The text of ids; control tokens say nothing."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def piece(self, number: int) -> bytes:
        """The bytes of one token, which may be a part of a character only."""
        token: str = self._tokenizer.id_to_token(number) or ""
        known = _bytes_of_letters()
        return b"".join(known.get(letter) or letter.encode() for letter in token)


@functools.cache
def _bytes_of_letters() -> dict[str, bytes]:
    """The letters by which byte-level vocabularies write bytes: printable ones stand for
    themselves, and the others, in their order, for the letters from 256 on.
    """
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in plain)
    letters = {chr(256 + n): bytes([byte]) for n, byte in enumerate(others)}
    return letters | {chr(byte): bytes([byte]) for byte in plain}


def rebuilt(metadata: GGUFMetadata) -> OwnTokenizer | None:
    """The model's own tokenizer, or None for a kind that we do not know."""
    cut = CUTS.get(metadata.pre)
    if metadata.tokenizer != "gpt2" or cut is None or not metadata.merges:
        return None
    return OwnTokenizer(metadata, cut)


def _built(metadata: GGUFMetadata, cut: Cut) -> Any:
    library = needed("tokenizers")
    merges = [tuple(merge.split(" ", 1)) for merge in metadata.merges]
    vocabulary = {token: number for number, token in enumerate(metadata.tokens)}
    tokenizer = library.Tokenizer(
        library.models.BPE(vocabulary, merges, ignore_merges=cut.whole_words)
    )
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
        [
            *(
                library.pre_tokenizers.Split(library.Regex(pattern), "isolated")
                for pattern in cut.patterns
            ),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = library.decoders.ByteLevel()
    for token, kind in zip(metadata.tokens, metadata.types, strict=False):
        if kind == CONTROL:
            tokenizer.add_special_tokens([library.AddedToken(token, special=True)])
        elif kind == _USER_DEFINED:
            tokenizer.add_tokens([library.AddedToken(token, normalized=False)])
    return tokenizer
