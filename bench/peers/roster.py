"""Who is compared: every peer with its environment, its driver, and how many rows it gets.

Rows are scaled to what a peer can do, so that the whole comparison stays below
ten minutes; each rate is still taken over several times as many rows as are in
flight. Nothing here measures.
"""

from pathlib import Path

import msgspec

SLOTS = 512
HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
REQUIREMENTS = HERE / "requirements"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its users run it."""

    key: str  # its name on the command line
    title: str
    driver: str
    requirements: str  # also the name of its environment
    distribution: str  # the package whose version is told
    concurrency: int
    rows: int  # of the run that gives rate, CPU and memory
    fewer: int  # of the runs with faults and with a kill

    @property
    def script(self) -> Path:
        """Its driver."""
        return DRIVERS / f"{self.driver}.py"

    @property
    def pins(self) -> Path:
        """Its requirements."""
        return REQUIREMENTS / f"{self.requirements}.txt"

    @property
    def version(self) -> str:
        """The version that its requirements pin. Raises LookupError without a pin."""
        for line in self.pins.read_text().splitlines():
            name, _, version = line.partition("==")
            if name == self.distribution:
                return version
        raise LookupError(f"{self.pins} does not pin {self.distribution}")


PEERS = (
    Peer(
        key="sequential",
        title="sequential loop, openai",
        driver="sequential",
        requirements="openai",
        distribution="openai",
        concurrency=1,
        rows=300,
        fewer=120,
    ),
    Peer(
        key="threads",
        title="64 threads, requests",
        driver="threads",
        requirements="requests",
        distribution="requests",
        concurrency=64,
        rows=10_000,
        fewer=4_000,
    ),
    Peer(
        key="gathered",
        title="AsyncOpenAI and a semaphore",
        driver="gathered",
        requirements="openai",
        distribution="openai",
        concurrency=SLOTS,
        rows=5_000,
        fewer=3_000,
    ),
    Peer(
        key="litellm",
        title="LiteLLM Router",
        driver="router",
        requirements="litellm",
        distribution="litellm",
        concurrency=SLOTS,
        rows=4_000,
        fewer=2_000,
    ),
    Peer(
        key="curator",
        title="bespokelabs-curator",
        driver="curated",
        requirements="curator",
        distribution="bespokelabs-curator",
        concurrency=SLOTS,
        rows=5_000,
        fewer=3_000,
    ),
    Peer(
        key="langchain",
        title="LangChain abatch",
        driver="abatch",
        requirements="langchain",
        distribution="langchain-openai",
        concurrency=SLOTS,
        rows=3_000,
        fewer=2_000,
    ),
    Peer(
        key="ray",
        title="Ray Data HTTP",
        driver="raydata",
        requirements="ray",
        distribution="ray",
        concurrency=8,  # worker processes: each sends one request after the other
        rows=800,
        fewer=200,
    ),
)

# The same loop as `gathered` with everything tuned that its documentation offers.
TUNED = (
    Peer(
        key="limits",
        title="AsyncOpenAI, pool of 128, uvloop",
        driver="gathered_limits",
        requirements="openai-tuned",
        distribution="openai",
        concurrency=128,
        rows=6_000,
        fewer=0,
    ),
    Peer(
        key="aiohttp",
        title="AsyncOpenAI[aiohttp], 128 at once, uvloop",
        driver="gathered_aiohttp",
        requirements="openai-tuned",
        distribution="openai",
        concurrency=128,
        rows=6_000,
        fewer=0,
    ),
)
