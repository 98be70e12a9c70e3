"""What the page says of the burden of proof: a PASS that proves nothing must not be read as proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import render_html
from dmun_audit.report.text import summary_lines


@pytest.fixture
def page_and_text(folder: Any, a_record: Callable[..., Any]) -> Callable[[str], tuple[str, str]]:
    def shown(burden: str) -> tuple[str, str]:
        claim = {
            "kind": "rate_at_most", "burden": burden, "hits": 1, "trials": 20, "estimate": 0.05, "lower": 0.001,
            "upper": 0.22, "threshold": 0.1, "p_refuted": 0.6, "holm": 0.9,
        }  # fmt: skip
        folder.manifest |= {"verdict": "PASS", "exit_code": 0, "reasons": []}
        folder.add(a_record("erasure", "All together", "PASS", pooled=True, claim=claim))
        run = read_run(folder.close())
        return render_html(run), " ".join(" ".join(summary_lines(run)).split())

    return shown


def test_a_group_of_which_only_harm_had_to_be_proven_is_no_proof_of_safety(page_and_text: Callable[[str], Any]) -> None:
    page, text = page_and_text("prove harm")
    assert "Every gating claim is within the limits" in page
    assert "Of erasure only harm had to be proven: that is no proof of safety." in page
    assert "No harm is proven here, which is no proof of safety: the policy asks no more of this group." in page
    assert "only harm is to be proven: not refuted is a pass" in page
    assert "ceiling 10%, only harm to be proven" in text


def test_a_group_that_had_to_be_proven_safe_says_so(page_and_text: Callable[[str], Any]) -> None:
    page, text = page_and_text("prove safe")
    assert "Every gating claim is proven within the limits" in page
    assert "to be proven: undecided is no pass" in page
    assert "only harm" not in page + text


def test_adjusted_p_values_stand_beside_plain_ones(page_and_text: Callable[[str], Any]) -> None:
    page, _ = page_and_text("prove safe")
    assert page.index("p-value against the claim") < page.index("p-value after Holm")
