"""A simulated OpenAI-compatible provider to plan and test with.

It answers instantly or slowly, refuses, limits and breaks as its settings say, and counts every
request it saw. It never runs a model, never calls out, and listens on 127.0.0.1 only.
"""

from nightkiln.simulate.answers import prompt_hash
from nightkiln.simulate.faults import FaultKind
from nightkiln.simulate.server import Simulator, run_simulator
from nightkiln.simulate.settings import SettingsError, SimulatorSettings
from nightkiln.simulate.stats import SimulatorStats

__all__ = [
    "FaultKind",
    "SettingsError",
    "Simulator",
    "SimulatorSettings",
    "SimulatorStats",
    "prompt_hash",
    "run_simulator",
]
