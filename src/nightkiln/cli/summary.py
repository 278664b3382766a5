"""How a run ended, in words and as an exit code. Pure."""

import msgspec

from nightkiln.cli.numbers import count, money, saved_usd, saved_words, share_words, short, span
from nightkiln.cli.options import Allowance
from nightkiln.core.events import BackendShare, Ended, FaultSample, Opening, Planned
from nightkiln.core.job import JobState

ROW_ERRORS = 3
FAILED = 4
BUDGET = 6  # a cap that was set, or a quota
WAITED = 9
_LABEL = 16
_MODELS = 3  # named in a summary
_OPENINGS = {
    Opening.NEW: "a new one",
    Opening.ATTACHED: "goes on with an unfinished one",
    Opening.FINISHED: "succeeded before, nothing is left to ask",
    Opening.WITH_ERRORS: "finished before with row errors; see `jobs retry`",
    Opening.CONTINUED: "the next generation of one that had ended early",
    Opening.WATCHING: "another process runs it",
}


class EndedReport(msgspec.Struct, frozen=True, kw_only=True):
    """The one JSON object of `run --json`."""

    job: str
    model: str
    backend: str  # all of them, where there are several
    why: str  # this model and backend
    state: str
    reason: str
    rows: int
    ok: int
    failed: int
    bad: int  # of the failed: rows that could not be read, so they were not asked
    reused: int  # rows that needed no request in this run
    saved_tokens: int  # that rows answered by an identical request's answer would have needed
    saved_usd: float | None  # None: no price is known
    truncated: int
    attempts: int
    maybe_billed: int  # sent, and no answer seen
    engine_deaths: int  # of an engine here: it was started again
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    elapsed_s: float
    rows_per_s: float
    tokens_per_s: float
    cost_usd: float | None  # over all generations; None: no price is known
    faults: tuple[FaultSample, ...]
    answered_by: tuple[str, ...]  # models that answered and were not asked
    output: str | None
    backends: tuple[BackendShare, ...] = ()  # where the rows went to several
    exit_code: int


def exit_code_of(ended: Ended, allowance: Allowance, *, signal_code: int | None) -> int:
    """The exit code; `signal_code` is 130 or 143 when a signal stopped us."""
    if ended.state is JobState.SUCCEEDED:
        return 0
    if ended.state is JobState.COMPLETED_WITH_ERRORS:
        return (
            0 if allowance.covers(ended.totals.failed - ended.skipped, ended.rows) else ROW_ERRORS
        )
    if ended.state.is_terminal:
        return FAILED  # failed, cancelled by somebody else, expired
    if signal_code is not None:
        return signal_code
    return BUDGET if ended.capped else WAITED


def report_of(ended: Ended, *, exit_code: int) -> EndedReport:
    """The end as one object."""
    totals = ended.totals
    return EndedReport(
        job=ended.job,
        model=ended.model,
        backend=ended.backend,
        why=ended.why,
        state=str(ended.state),
        reason=ended.reason,
        rows=ended.rows,
        ok=totals.ok,
        failed=totals.failed,
        bad=ended.bad,
        reused=ended.reused,
        saved_tokens=totals.saved_tokens,
        saved_usd=saved_usd(totals),
        truncated=totals.truncated,
        attempts=totals.attempts,
        maybe_billed=totals.maybe_billed,
        engine_deaths=ended.engine_deaths,
        input_tokens=totals.input_tokens,
        cached_tokens=totals.cached_tokens,
        output_tokens=totals.output_tokens,
        elapsed_s=round(ended.elapsed_s, 3),
        rows_per_s=round(ended.rows_per_s, 3),
        tokens_per_s=round(ended.tokens_per_s, 3),
        cost_usd=ended.cost_usd,
        faults=ended.faults,
        answered_by=ended.answered_by,
        output=ended.output,
        backends=ended.shares,
        exit_code=exit_code,
    )


def summary_of(ended: Ended, *, model: str, again: str) -> str:
    """The end in lines. `again` is the command that goes on with the job."""
    lines = [_headline(ended)]
    lines += [line for sample in ended.faults for line in _fault(sample)]
    if ended.bad:
        lines.append(_line("bad rows", _bad(ended)))
    if ended.reused:
        lines.append(_line("reused", f"{count(ended.reused)} reused, $0"))
    if ended.totals.reused:
        lines.append(_line("identical", _saved(ended)))
    if ended.totals.truncated:
        lines.append(
            _line("truncated", f"{count(ended.totals.truncated)} cut at the token limit;")
            + " finish_reason says length, --max-tokens raises the limit"
        )
    if ended.answered_by:
        lines.append(_line("model", _answered_by(ended, model)))
    lines += _figures(ended, model)
    if ended.output is not None and ended.state.is_terminal:
        lines.append(_line("output", ended.output))
    lines.append(_line("next", _next(ended, again)))
    return "\n".join(lines)


def _saved(ended: Ended) -> str:
    totals = ended.totals
    return saved_words(totals.reused, totals.saved_tokens, saved_usd(totals))


def _answered_by(ended: Ended, model: str) -> str:
    shown = " and ".join(ended.answered_by[:_MODELS])
    more = len(ended.answered_by) - _MODELS
    return f"asked {model}, answered by {shown}" + (f" and {count(more)} more" if more > 0 else "")


def _headline(ended: Ended) -> str:
    totals = ended.totals
    rows = f"{count(totals.ok)} ok"
    if failed := max(0, totals.failed - ended.skipped):
        rows += f", {count(failed)} failed"
    if ended.skipped:
        rows += f", {count(ended.skipped)} skipped"
    rows += f" of {count(ended.rows)} rows"
    why = f" ({ended.reason})" if ended.reason else ""
    word = str(ended.state).replace("_", " ")
    return f"{word}{why}: {rows} in {span(ended.elapsed_s)} · job {ended.job}"


def _fault(sample: FaultSample) -> list[str]:
    said = f": {sample.message}" if sample.message else ""
    first = f"{count(sample.count)} {sample.fault}, e.g. row {sample.row}{said}"
    return [_line("failed", first), *([" " * _LABEL + f"fix: {sample.fix}"] if sample.fix else [])]


def _bad(ended: Ended) -> str:
    where = ", and are not in the output" if ended.skipped else ""
    verb = "was" if ended.bad == 1 else "were"
    said = "--bad-rows FILE writes" if ended.bad_rows is None else f"{_file(ended.bad_rows)} says"
    return f"{count(ended.bad)} {verb} not asked{where}; {said} which and why"


def _file(name: str) -> str:
    return "standard output" if name == "-" else name


def _figures(ended: Ended, model: str) -> list[str]:
    totals, lines = ended.totals, []
    if totals.input_tokens or totals.output_tokens:
        cached = f" ({short(totals.cached_tokens)} cached)" if totals.cached_tokens else ""
        tokens = f"{short(totals.input_tokens)} in{cached}, {short(totals.output_tokens)} out"
        lines.append(_line("tokens", tokens))
    if ended.rows_per_s:
        speed = f"{short(ended.rows_per_s)} rows/s, {short(ended.tokens_per_s)} tok/s"
        lines.append(_line("speed", speed))
    lines.append(_line("cost", _cost(ended, model)))
    lines += [_line("backend", share_words(share)) for share in ended.shares]
    if ended.engine_deaths:
        times = "once" if ended.engine_deaths == 1 else f"{count(ended.engine_deaths)} times"
        lines.append(
            _line("engine", f"died {times} and was started again; its rows were asked again")
        )
    if ended.spent.maybe_billed and ended.is_local:
        said = f"{count(ended.spent.maybe_billed)} rows whose answer was not kept"
        lines.append(_line("asked again", said))
    elif ended.spent.maybe_billed:
        lines.append(
            _line("maybe billed", f"{count(ended.spent.maybe_billed)} requests were sent and")
            + " their answer never seen; a provider may have charged them"
        )
    return lines


def _cost(ended: Ended, model: str) -> str:
    if ended.cost_usd is None:
        return f"unknown: no price for {model}"
    partly = f", and {count(ended.spent.unpriced)} answers whose price is unknown"
    return money(ended.cost_usd) + (partly if ended.spent.unpriced else "")


def _next(ended: Ended, again: str) -> str:
    if not ended.state.is_terminal or ended.state is JobState.CANCELLED:
        return again
    if ended.faults:
        return f"nightkiln explain {ended.faults[0].fault}"
    if ended.state is JobState.EXPIRED:
        return again
    if ended.output is None and ended.state is not JobState.FAILED:
        return f"nightkiln jobs results {ended.job} -o answers.csv"
    return f"nightkiln jobs show {ended.job}"


def _line(label: str, text: str) -> str:
    return f"  {label:<{_LABEL - 2}}{text}"


def _bad_of(planned: Planned) -> list[str]:
    """The bad rows of a plan in lines."""
    if not planned.bad:
        return []
    lines = [_line("bad rows", f"{count(planned.bad)} will not be asked")]
    lines += [" " * _LABEL + told for told in planned.bad_rows]
    more = planned.bad - len(planned.bad_rows)
    return [*lines, " " * _LABEL + f"and {count(more)} more"] if more else lines


def plan_of(planned: Planned) -> str:
    """What a run would do, in lines."""
    over = planned.opening in (Opening.FINISHED, Opening.WITH_ERRORS)
    to_ask = 0 if over else max(0, planned.rows - planned.bad - planned.reused)
    job = _OPENINGS[planned.opening] + (f": {planned.job}" if planned.job else "")
    lines = [
        f"would ask {count(to_ask)} of {count(planned.rows)} rows; nothing was sent",
        _line("input", f"{planned.input_name} ({planned.format})"),
        _line("columns", ", ".join(planned.columns)),
        *_bad_of(planned),
        _line("model", planned.model),
        *([_line("why", planned.why)] if planned.why else []),
        _line("backend", f"{planned.backend}, up to {planned.concurrency:,} requests at once"),
        _line("job", job),
        _line("output", planned.output or "stays in the home"),
        _line("first prompt", planned.prompt_sample.replace("\n", "\n" + " " * _LABEL)),
    ]
    if planned.reused:
        lines.insert(-2, _line("reused", f"{count(planned.reused)} reused, $0"))
    lines += [_line("note", text) for text in planned.notices]
    return "\n".join(lines)
