"""One machine at its edges: long rows, TLS, four thousand slots, ten jobs at once.

CPU a row is the difference between a short and a long run, as in `ceiling`, so
starts and handshakes count for nothing. Every answer is compared with its prompt.
"""

import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec
from bench import atonce, inputs, jobs
from bench.figures import Figure
from bench.processes import BenchError
from bench.servers import Server, Stats, preferred, serving

ROWS = 100_000
_BODY_TOKENS = 1024  # 4 bytes each
_PAIRS = 3  # of plain and TLS
_MANY, _MANY_MS = 4096, 400
_MANY_TOP = _MANY * 1000 / _MANY_MS
_USUAL_FILES = 1024  # the soft limit that most systems begin with


class Long(msgspec.Struct, frozen=True, kw_only=True):
    """A long run, and what it cost beyond a short one."""

    cpu_us: float  # a row
    peak_mb: float
    stats: Stats
    wrong: int


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """All four."""
    figures: list[Figure] = []
    for part, size in (
        (bodies, rows // 4),
        (tls, rows // 2),
        (slots, rows),
        (atonce.measure, rows),
    ):
        folder = work / part.__name__
        folder.mkdir()
        figures += part(work=folder, rows=size)
    return figures


def bodies(*, work: Path, rows: int) -> list[Figure]:
    """Prompts of 8 KB, answers of 4 KB."""
    flags = ["--capacity", "512", "--latency", "const:50", "--out-tokens", f"const:{_BODY_TOKENS}"]
    with serving(preferred(), flags, work=work) as server:
        found = _long(server, work, rows, of=inputs.long_prompt)
    rate = found.stats.rps_over_span
    a_row = inputs.LONG_BYTES + 4 * _BODY_TOKENS
    return [
        _figure("8 KB prompts, 4 KB answers: rate", rate, "rows/s", server),
        _figure("8 KB prompts, 4 KB answers: texts in and out", rate * a_row / 1e6, "MB/s", server),
        *_common("8 KB prompts, 4 KB answers", found, server, peak=400),
    ]


def tls(*, work: Path, rows: int) -> list[Figure]:
    """The same rows over HTTP and over HTTPS, in turns; a certificate made for the purpose."""
    flags = [*jobs.CAPACITY, "--latency", "const:50"]
    pairs: list[tuple[Long, Long]] = []
    for name in ("plain", "secure"):
        (work / name).mkdir()
    with (
        serving(preferred(), flags, work=work / "plain") as plain,
        serving(preferred(), flags, work=work / "secure", tls=_certificate(work)) as secure,
    ):
        for number in range(_PAIRS):
            sides = []
            for server, name in ((plain, "plain"), (secure, "secure")):
                folder = work / name / str(number)
                folder.mkdir()
                sides.append(_long(server, folder, rows))
            pairs.append((sides[0], sides[1]))
    adders = tuple(over.cpu_us - bare.cpu_us for bare, over in pairs)
    shares = tuple(
        100 * over.stats.rps_over_span / bare.stats.rps_over_span for bare, over in pairs
    )
    wrong = sum(side.wrong for pair in pairs for side in pair)
    return [
        _median("TLS: CPU a row beyond plain HTTP", adders, "µs", secure, at_most=25),
        _median("TLS: CPU a row", tuple(over.cpu_us for _, over in pairs), "µs", secure),
        _median("TLS: CPU a row, plain", tuple(bare.cpu_us for bare, _ in pairs), "µs", plain),
        _median(
            "TLS: rate", tuple(over.stats.rps_over_span for _, over in pairs), "rows/s", secure
        ),
        _median("TLS: rate, of plain HTTP", shares, "%", secure),
        _figure("TLS: rows lost or wrong", wrong, "rows", secure, at_most=0),
    ]


def slots(*, work: Path, rows: int) -> list[Figure]:
    """4,096 requests in flight, from a process that begins with the usual limit of open files."""
    flags = ["--capacity", str(_MANY), "--latency", f"const:{_MANY_MS}"]
    flags += ["--out-tokens", jobs.OUT_TOKENS]
    with serving(preferred(), flags, work=work) as server, _usual_files():
        found = _long(server, work, rows, slots=_MANY)
    rate = found.stats.rps_over_span
    filled = found.stats.max_inflight
    return [
        _figure(
            f"{_MANY:,} slots: rate, of {_MANY_TOP:,.0f}/s", 100 * rate / _MANY_TOP, "%", server
        ),
        _figure(f"{_MANY:,} slots: rate, start and end included", rate, "rows/s", server),
        _figure(f"{_MANY:,} slots: most requests in flight", filled, "", server, at_least=_MANY),
        *_common(f"{_MANY:,} slots", found, server, peak=300),
    ]


def _long(
    server: Server,
    work: Path,
    rows: int,
    *,
    of: inputs.Prompts = inputs.prompt,
    slots: int | None = None,
) -> Long:
    """A run of a fifth of the rows and one of them all; the counts are of the second."""
    costs, wrong = [], 0
    for size in (rows // 5, rows):
        source = inputs.csv_table(work / f"{size}.csv", size, of=of)
        output, home = work / f"out-{size}.csv", work / f"home-{size}"
        server.reset()
        costs.append(jobs.finish(source, output, server=server, home=home, slots=slots))
        wrong += inputs.checked(output, of=of).wrong_of(size)
        output.unlink()
    short, whole = costs
    return Long(
        cpu_us=1e6 * (whole.cpu_s - short.cpu_s) / (rows - rows // 5),
        peak_mb=whole.peak_mb,
        stats=server.stats(),
        wrong=wrong,
    )


def _certificate(folder: Path) -> Path:
    """A folder with a key and a certificate for 127.0.0.1 that vouches for itself."""
    made = folder / "tls"
    made.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(made / "key.pem"), "-out", str(made / "cert.pem")]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as failure:
        raise BenchError(f"openssl made no certificate: {failure}") from failure
    return made


@contextmanager
def _usual_files() -> Iterator[None]:
    """Children started in this block begin with the soft limit that is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, _USUAL_FILES), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _common(name: str, found: Long, server: Server, *, peak: float) -> list[Figure]:
    return [
        _figure(f"{name}: CPU a row", found.cpu_us, "µs", server),
        _figure(f"{name}: peak memory", found.peak_mb, "MB", server, at_most=peak),
        _figure(f"{name}: rows lost or wrong", found.wrong, "rows", server, at_most=0),
    ]


def _median(
    name: str, samples: Sequence[float], unit: str, server: Server, *, at_most: float | None = None
) -> Figure:
    found = _figure(name, median(samples), unit, server, at_most=at_most)
    return msgspec.structs.replace(found, samples=tuple(samples))


def _figure(
    name: str,
    value: float,
    unit: str,
    server: Server,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    return Figure(
        workload="scale",
        name=name,
        value=value,
        unit=unit,
        at_most=at_most,
        at_least=at_least,
        against=server.kind,
    )
