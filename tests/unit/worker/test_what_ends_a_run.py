"""What is said when no connection comes about before the first answer."""

import pytest

from nightkiln.wire.trouble import Trouble, transport_fault
from nightkiln.worker.runner import error_of


@pytest.mark.parametrize(
    ("trouble", "helps"),
    [(Trouble.TLS, "SSL_CERT_FILE"), (Trouble.REFUSED, "that the server runs")],
)
def test_a_certificate_that_nobody_vouches_for_has_a_hint_of_its_own(
    trouble: Trouble, helps: str
) -> None:
    error = error_of(transport_fault(trouble, "127.0.0.1:1: no", sent=False), "127.0.0.1:1")
    assert error is not None
    assert helps in error.hint
