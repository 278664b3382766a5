"""Problems in the words of each dialect, and which error becomes which problem."""

import msgspec
import pytest

from nightkiln.core import errors
from nightkiln.core.errors import DiskError, IllegalMove, NightkilnError, catalogue
from nightkiln.http.errors import Refuse, problem_of, reply_to
from nightkiln.http.shapes import Problem, Shape, shape_of, write
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.openai.refusals import no_such_file


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/files", Shape.OPENAI),
        ("/v1", Shape.OPENAI),
        ("/v1/messagesx", Shape.OPENAI),
        ("/v1/messages", Shape.ANTHROPIC),
        ("/v1/messages/batches/x", Shape.ANTHROPIC),
        ("/anthropic/v1/anything", Shape.ANTHROPIC),
        ("/anthropicx", Shape.NATIVE),
        ("/api/v1/jobs", Shape.NATIVE),
        ("/", Shape.NATIVE),
        ("/v1x", Shape.NATIVE),
    ],
)
def test_a_path_has_one_shape(path: str, shape: Shape) -> None:
    assert shape_of(path) is shape


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 408, 409, 413, 421, 429, 500, 503, 507]
)
def test_every_status_can_be_said_in_every_shape(shape: Shape, status: int) -> None:
    problem = Problem(status=status, code="E_X", message="why", retry=False, retry_after_s=2.2)
    written = write(problem, shape, request_id="req_1")
    assert written.status == status
    assert "why" in str(msgspec.json.decode(written.body))
    assert dict(written.headers) == {"x-should-retry": "false", "retry-after": "3"}


def made(kind: type[NightkilnError]) -> NightkilnError:
    return kind("job_1", "a", "b") if kind is IllegalMove else kind("words with /a/path")


@pytest.mark.parametrize("kind", catalogue().values(), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_has_a_status(kind: type[NightkilnError]) -> None:
    problem = problem_of(made(kind))
    assert problem.code == kind.code
    assert 400 <= problem.status < 600
    assert problem.status < 500 or "/a/path" not in problem.message


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.NotFound, 404),
        (errors.UsageError, 400),
        (errors.InputError, 400),
        (errors.AuthError, 503),
        (errors.QuotaError, 429),
        (errors.HomeBusy, 503),
        (errors.IllegalMove, 409),
        (errors.DamagedError, 500),
        (errors.NightkilnError, 500),
    ],
)
def test_an_error_has_its_status(kind: type[NightkilnError], status: int) -> None:
    assert problem_of(made(kind)).status == status


def test_a_backends_credential_is_not_the_callers_and_its_place_not_their_business() -> None:
    problem = problem_of(errors.AuthError("file:/a/path cannot be read"))
    assert (problem.status, problem.code, problem.retry) == (503, "E_AUTH", False)
    assert "credential" in problem.message
    assert "/a/path" not in problem.message


def test_a_full_disk_is_told_from_one_that_fails() -> None:
    assert problem_of(DiskError("x", full=True)).status == 507
    assert problem_of(DiskError("x")).status == 503


def test_refusals_of_both_wires_are_sent_as_they_are() -> None:
    openai = reply_to(Refuse(no_such_file("file-1")), Shape.OPENAI, request_id="req_1")
    assert openai.status_code == 404
    assert bytes(openai.body) == no_such_file("file-1").body
    refusal = Refusal(status=409, message="why")
    anthropic = reply_to(Refuse(refusal), Shape.ANTHROPIC, request_id="req_1")
    assert anthropic.status_code == 409
    assert bytes(anthropic.body) == refusal.body("req_1")
