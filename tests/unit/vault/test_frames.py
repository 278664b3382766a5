"""The frame codec, whatever happened to the bytes: never an error, never a wrong frame."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Usage
from nightkiln.vault.frames import MAGIC, Answered, Faulted, Frame, Sent, decode, encode

FAULTS = st.builds(
    Fault,
    kind=st.sampled_from(FaultClass),
    code=st.text(max_size=8),
    message=st.text(max_size=8),
    status=st.none() | st.integers(100, 599),
    retry_after_s=st.none() | st.floats(0, 100),
    sent=st.booleans(),
    unreachable=st.booleans(),
)
ATTEMPTS = st.builds(
    Attempt,
    number=st.integers(1, 9),
    backend=st.text(max_size=5),
    sent_at=st.floats(0, 2e9),
    latency_ms=st.floats(0, 1e6),
    usage=st.builds(Usage, input_tokens=st.integers(0, 99), output_tokens=st.integers(0, 99)),
    cost_usd=st.none() | st.floats(0, 10),
    fault=st.none() | FAULTS,
    request_id=st.text(max_size=5),
)
FRAMES = st.one_of(
    st.builds(
        Sent,
        at=st.floats(0, 2e9),
        backend=st.text(max_size=5),
        tries=st.lists(st.tuples(st.integers(0, 999), st.integers(1, 9)), max_size=4).map(tuple),
    ),
    st.builds(Faulted, row=st.integers(0, 999), attempt=ATTEMPTS),
    st.builds(
        Answered,
        row=st.integers(0, 999),
        attempt=st.none() | ATTEMPTS,
        text=st.none() | st.text(max_size=40),
        fault=st.none() | FAULTS,
        finish_reason=st.sampled_from(["", "stop", "length"]),
        model=st.text(max_size=5),
        reused=st.booleans(),
        body=st.none() | st.binary(max_size=40),
    ),
)
JOURNALS = st.lists(FRAMES, max_size=8)
POSITIONS = st.floats(0, 1, exclude_max=True)


def journal_of(frames: Sequence[Frame]) -> bytes:
    return MAGIC + b"".join(map(encode, frames))


def at(data: bytes, position: float) -> int:
    return int(len(data) * position)


def is_prefix(found: Sequence[Frame], frames: Sequence[Frame]) -> bool:
    return list(found) == list(frames[: len(found)])


@given(JOURNALS)
def test_what_is_written_is_read(frames: list[Frame]) -> None:
    assert list(decode(journal_of(frames))) == frames


@given(JOURNALS, POSITIONS)
def test_a_torn_tail_loses_only_itself(frames: list[Frame], position: float) -> None:
    data = journal_of(frames)
    cut = at(data, position)
    whole = sum(len(journal_of(frames[: n + 1])) <= cut for n in range(len(frames)))
    assert list(decode(data[:cut])) == frames[:whole]


@given(JOURNALS, POSITIONS, st.integers(1, 64))
def test_zeroed_bytes_are_never_read_as_frames(
    frames: list[Frame], position: float, length: int
) -> None:
    data = journal_of(frames)
    start = at(data, position)
    hurt = data[:start] + bytes(len(data[start : start + length])) + data[start + length :]
    assert is_prefix(list(decode(hurt)), frames)


@given(JOURNALS, st.integers(1, 4096))
def test_a_tail_of_zeroes_after_a_power_cut_is_no_frame(frames: list[Frame], length: int) -> None:
    assert list(decode(journal_of(frames) + bytes(length))) == frames


@given(JOURNALS, st.lists(st.tuples(POSITIONS, st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bits_end_the_reading(frames: list[Frame], flips: list[tuple[float, int]]) -> None:
    data = bytearray(journal_of(frames))
    for position, bits in flips:
        data[int(len(data) * position)] ^= bits
    assert is_prefix(list(decode(bytes(data))), frames)


@given(JOURNALS, POSITIONS, st.integers(1, 64), POSITIONS)
def test_bytes_in_the_wrong_place_make_no_new_frame(
    frames: list[Frame], source: float, length: int, target: float
) -> None:
    data = journal_of(frames)
    piece = data[at(data, source) : at(data, source) + length]
    cut = at(data, target)
    for hurt in (data[:cut] + piece + data[cut:], data[:cut] + piece + data[cut + length :]):
        found = list(decode(hurt))
        untouched = sum(len(journal_of(frames[: n + 1])) <= cut for n in range(len(frames)))
        assert found[:untouched] == frames[: min(untouched, len(found))]
        assert all(frame in frames for frame in found)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_read_without_an_error(data: bytes) -> None:
    list(decode(data))
    list(decode(MAGIC + data))


def test_a_good_frame_of_an_unknown_kind_ends_the_reading() -> None:
    import google_crc32c
    import msgspec

    payload = msgspec.msgpack.encode([99, "of a newer version"])
    head = len(payload).to_bytes(4, "little") + google_crc32c.value(payload).to_bytes(4, "little")
    good = Answered(row=1, text="one")
    assert list(decode(journal_of([good]) + head + payload + encode(good))) == [good]
