import sys
from pathlib import Path
from types import ModuleType

import pytest

from nightkiln.backends.credentials import parse_credential, resolve
from nightkiln.core.errors import AuthError, MissingExtra, UsageError


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


class Locked(Exception):
    """The KeyringError of the package that stands in for the real one."""


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """The entries of a keyring whose package is installed."""
    entries: dict[tuple[str, str], str] = {}

    def get_password(service: str, user: str) -> str | None:
        if service == "locked":
            raise Locked("sk-123456 is behind a lock")
        return entries.get((service, user))

    package, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    vars(package).update(get_password=get_password, errors=errors)
    vars(errors).update(KeyringError=Locked)
    monkeypatch.setitem(sys.modules, "keyring", package)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return entries


def test_the_keyring_of_the_system_holds_the_secret(keyring: dict[tuple[str, str], str]) -> None:
    keyring["https://llm.example/v1", "team"] = "sk-123456\n"
    reference = parse_credential("keyring:https://llm.example/v1/team")
    assert resolve(reference, {}) == "sk-123456"
    assert str(reference) == "keyring:https://llm.example/v1/team"


@pytest.mark.parametrize("service", ["absent", "locked"])
def test_what_no_keyring_gives_names_its_reference_only(
    keyring: dict[tuple[str, str], str], service: str
) -> None:
    with pytest.raises(AuthError, match=f"keyring:{service}/team") as caught:
        resolve(parse_credential(f"keyring:{service}/team"), {})
    assert "sk-123456" not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None


def test_a_keyring_without_its_package_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingExtra, match=r'pip install "nightkiln\[keyring\]"'):
        resolve(parse_credential("keyring:llm/team"), {})


@pytest.mark.parametrize("place", ["", "llm", "/team", "llm/", "llm/sk-123456"])
def test_an_entry_of_a_keyring_has_a_service_and_a_user(place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_credential(f"keyring:{place}")
    assert "SERVICE/USER" in caught.value.message
    assert "sk-" not in caught.value.message + caught.value.hint
