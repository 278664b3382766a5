import subprocess
import sys

import pytest

from nightkiln import pilot


def test_the_file_lies_beside_the_package_and_is_small() -> None:
    assert pilot.path().is_file()
    assert pilot.path().stat().st_size <= 8_000_000
    assert pilot.path().read_bytes()[:4] == b"GGUF"


def test_naming_the_pilot_loads_nothing_heavy() -> None:
    code = "import sys, nightkiln.pilot; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"openvino", "openvino_genai", "tokenizers", "gguf"} & set(done.stdout.split())


def test_the_readme_names_every_wording() -> None:
    said = pilot.path().with_name("README.md").read_text(encoding="utf-8")
    every = (
        *pilot.TOPIC_INSTRUCTIONS,
        *pilot.SENTIMENT_INSTRUCTIONS,
        *pilot.URGENCY_INSTRUCTIONS,
        *pilot.EXTRACT_INSTRUCTIONS,
        *pilot.FIELDS_INSTRUCTIONS,
    )
    missing = [wording for wording in every if wording not in said]
    assert not missing


@pytest.mark.parametrize("wording", pilot.FIELDS_INSTRUCTIONS)
def test_a_wording_for_fields_names_them_once(wording: str) -> None:
    assert wording.count("{fields}") + wording.count("{shape}") == 1
