from pathlib import Path

import pytest

from nightkiln.backends.credentials import parse_credential, resolve
from nightkiln.core.errors import AuthError, UsageError


def test_a_variable_of_the_given_environment_holds_the_secret() -> None:
    reference = parse_credential("env:MY_KEY")
    assert resolve(reference, {"MY_KEY": " sk-123456 \n"}) == "sk-123456"
    assert str(reference) == "env:MY_KEY"


def test_a_file_holds_the_secret(tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_text("sk-123456\n")
    assert resolve(parse_credential(f"file:{place}"), {}) == "sk-123456"


@pytest.mark.parametrize("environ", [{}, {"MY_KEY": ""}, {"MY_KEY": " "}])
def test_a_missing_secret_names_its_reference(environ: dict[str, str]) -> None:
    with pytest.raises(AuthError, match="env:MY_KEY"):
        resolve(parse_credential("env:MY_KEY"), environ)


def test_a_missing_file_names_its_reference(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match=r"file:.*absent"):
        resolve(parse_credential(f"file:{tmp_path}/absent"), {})


@pytest.mark.parametrize("secret", ["two words", "line\nbreak", "näh"])
def test_what_no_header_can_carry_is_no_key(secret: str) -> None:
    with pytest.raises(AuthError, match="plain ASCII"):
        resolve(parse_credential("env:MY_KEY"), {"MY_KEY": secret})


@pytest.mark.parametrize(
    "text",
    ["sk-proj-abcdef123456", "env:sk-abcdef123456", "env:sk_live_abcdef", "hunter2", "file:"],
)
def test_a_secret_in_place_of_a_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_credential(text)
    shown = caught.value.message + caught.value.hint
    assert text.partition(":")[2] not in shown or not text.partition(":")[2]
    assert "env:NAME" in shown
