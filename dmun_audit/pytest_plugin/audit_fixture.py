"""The value of the fixture `audit`: tests run their cases with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dmun_audit.evidence.schema import CaseRecord
    from dmun_audit.plan.case import Case
    from dmun_audit.pytest_plugin.session import Session


class AuditFixture:
    """The value of the fixture `audit`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def check(self, case: Case) -> CaseRecord:
        """Run `case` and return its record.

        The test fails if the claim is refuted or undecided, and is skipped if the case is VACUOUS or NOT APPLICABLE. A failure that the policy
        waives is an expected failure. The findings are a section of the test's report:
        pytest shows it with -rA, or if another assertion of the test fails.
        """
        tests = self._session.tests_of(case)
        record = self._session.run(tests, case)
        self._session.show(tests, record)
        if waiver := tests.waiver(record):
            pytest.xfail(waiver)  # an expected failure; its record is evidence as well
        if record.is_failure:
            pytest.fail(tests.failure(record), pytrace=False)
        if record.verdict.is_untested:
            pytest.skip(record.seen)
        return record
