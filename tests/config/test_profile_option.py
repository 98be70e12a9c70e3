"""The option --profile: it changes how images are drawn, and neither seeds nor prompts."""

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.config.describe import describe
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.policy import load_policy, weaker_than_release


@pytest.fixture
def resolved(store):
    return lambda **options: resolve(Options(model="atelier:uce-van-gogh", policy="release", store=str(store), **options))


def test_fast_is_another_audit_of_the_same_seeds_and_prompts_and_no_release_evidence(resolved):
    fidelity, fast = resolved(), resolved(profile="fast")
    assert fidelity.policy == load_policy("release")
    assert fast.audit_hash != fidelity.audit_hash
    assert (fast.audit_seed, fast.fingerprint) == (fidelity.audit_seed, fidelity.fingerprint)
    assert [case.images for case in fast.plan.cases] == [case.images for case in fidelity.plan.cases]
    assert weaker_than_release(fast.policy) == ["sampling.profile is 'fast', and release has 'fidelity'"]
    assert "sampling.profile fidelity → fast" in "\n".join(describe(fast))


def test_another_name_is_an_error(resolved):
    with pytest.raises(UsageError, match="--profile=quick is no profile"):
        resolved(profile="quick")
