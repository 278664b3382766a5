"""One table defines every knob: its flag, its key and what it may be."""

import msgspec
import pytest

from nightkiln.simulate.settings import SETTINGS, SettingsError, SimulatorSettings


def test_every_field_has_a_flag_a_default_and_a_description() -> None:
    assert [setting.name for setting in SETTINGS] == list(SimulatorSettings.__struct_fields__)
    assert all(setting.description for setting in SETTINGS)
    assert {"--p500", "--slow-per-inflight", "--burst-s"} <= {s.flag for s in SETTINGS}
    shown = msgspec.structs.asdict(SimulatorSettings())
    assert {setting.name: setting.default for setting in SETTINGS} == shown


def test_text_becomes_the_type_of_its_setting() -> None:
    settings = SimulatorSettings().changed({"p500": "0.02", "capacity": "512", "latency": "exp:9"})
    assert (settings.p500, settings.capacity, settings.latency) == (0.02, 512, "exp:9")


def test_a_number_is_a_constant_distribution() -> None:
    assert SimulatorSettings().changed({"latency": 50}).latency == "const:50"


def test_a_change_leaves_the_rest_as_it_was() -> None:
    settings = SimulatorSettings(rpm=60).changed({"track": False})
    assert (settings.rpm, settings.track) == (60, 0)


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"unknown keys: p5OO; the known keys are latency"):
        SimulatorSettings().changed({"p5OO": 0.1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p500", 1.5),
        ("p500", "often"),
        ("capacity", -1),
        ("capacity", 1.5),
        ("latency", "soon"),
        ("out_tokens", "uniform:9,1"),
        ("rpm", "nan"),
        ("hang_s", "inf"),
        ("track", 2),
        ("sse_tokens", 0),
        ("api_key", None),
    ],
)
def test_a_value_that_does_not_fit_is_named(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{name} cannot be"):
        SimulatorSettings().changed({name: value})


def test_the_constructor_checks_as_well() -> None:
    with pytest.raises(SettingsError, match="latency cannot be"):
        SimulatorSettings(latency="gauss:1")


def test_the_shares_may_add_up_to_one_and_no_more() -> None:
    SimulatorSettings(p500=0.5, pdrip=0.5)
    with pytest.raises(SettingsError, match=r"add up to 1\.1"):
        SimulatorSettings(p500=0.5, pdrip=0.6)
