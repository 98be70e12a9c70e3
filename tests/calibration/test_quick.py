"""The small calibration: it succeeds for the policy that ships, and fails for policies that do not keep its promise."""

import pytest
from scipy import stats

from benchmarks.calibration.__main__ import main
from benchmarks.calibration.known_answers import KnownAnswers
from benchmarks.calibration.quick import ALARM_RATE, FAR, most_errors, requirements

pytestmark = pytest.mark.slow


def quick(*arguments):
    return main(["--quick", "--audits=4", *arguments])


def changed(folder, text):
    """An option for `standard` with other figures."""
    path = folder / "changed.toml"
    path.write_text(f'extends = "standard"\n{text}')
    return f"--policy={path}"


@pytest.mark.slow
def test_the_policy_that_ships_keeps_its_promise(capsys):
    assert quick() == 0
    printed = capsys.readouterr().out
    assert printed.count("| kept |") == 9
    assert "BROKEN" not in printed


def test_audits_at_another_error_rate_than_promised_fail(tmp_path, capsys):
    assert quick(changed(tmp_path, "alpha = 0.49"), "--promise=standard") == 1
    captured = capsys.readouterr()
    assert "erasure at its limit" in captured.err
    assert captured.out.count("| BROKEN |") >= 1


def test_audits_at_a_higher_limit_than_promised_fail(tmp_path, capsys):
    policy = changed(tmp_path, "[retention]\nmargin = 0.9\nworst_concept = 0.95")  # other claims still refuse rates far over
    assert quick(policy, "--promise=standard") == 1
    assert "retention at its limit" in capsys.readouterr().err


def test_audits_that_cannot_pass_a_good_model_fail(tmp_path, capsys):
    assert quick(changed(tmp_path, "[erasure]\nimages = 48")) == 1
    assert capsys.readouterr().err.count("good: ") == 2


def test_a_policy_that_does_not_exist_is_a_usage_error(capsys):
    assert quick("--policy=nowhere") == 4
    assert "nowhere" in capsys.readouterr().err


def test_known_answers_lie_where_they_are_said_to_lie(setting):
    answers = KnownAnswers(setting.images, setting.plans["early"])
    for required in requirements(answers, 40):
        standing = answers.standing(answers.true_rates(required.candidate))
        expected = "at a limit" if "at its limit" in required.answer else "good" if "good" in required.answer else "over a limit"
        assert standing == expected
        if expected == "over a limit":
            assert answers.excess(answers.true_rates(required.candidate)) >= FAR - 1e-9


@pytest.mark.parametrize(("audits", "rate"), [(40, 0.01), (200, 0.05)])
def test_allowed_errors_are_exceeded_no_more_often_than_the_alarm_rate(audits, rate):
    most = most_errors(audits, rate, ALARM_RATE)
    assert stats.binom.sf(most, audits, rate) <= ALARM_RATE < stats.binom.sf(most - 1, audits, rate)
