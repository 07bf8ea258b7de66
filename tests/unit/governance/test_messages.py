"""Messages as they are put."""

from __future__ import annotations

import pytest

from shared.governance.messages import mail_delivery
from shared.kit import json
from tests.support.audit import ORG


@pytest.mark.parametrize("end", ["\r\n", "\n", "\u2028", "\x85", "\x1d", "\t \t"])
def test_a_subject_is_one_line(end: str) -> None:
    """However somebody has named themselves; the text is as it was written."""
    made = mail_delivery(ORG, "d-1", "ada@example.com", subject=f"Invitation to A{end}Bcc: b", text=f"a{end}b")
    assert json.loads(made.payload) == {"subject": "Invitation to A Bcc: b", "text": f"a{end}b"}
