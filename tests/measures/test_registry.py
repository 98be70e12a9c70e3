"""Metrics of other packages: installed through real entry points, measured on pairs, and held to the protocol."""

import doctest

import numpy as np
import pytest
from installed_packages import install

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.measures import protocol
from dmun_audit.measures.registry import BUILT_IN, GROUP, measured, registered_metrics
from dmun_audit.report.html.cases import _MEASURES

CONTRAST = """
    import numpy as np

    class Contrast:
        name = "contrast"

        def __init__(self, device):
            self.device = device

        def measure(self, base, candidate, prompts):
            assert len(base) == len(candidate) == len(prompts)
            sides = {"base": base, "candidate": candidate}
            return {f"contrast.{side}": np.float32(np.mean([image.std() for image in images])) for side, images in sides.items()}
"""
CONSTANT = """
    class Constant:
        name = "constant"

        def __init__(self, device):
            pass

        def measure(self, base, candidate, prompts):
            return VALUES
"""
PROMPTS = ["a house", "a tree", "a cat"]


@pytest.fixture
def register(tmp_path, monkeypatch):
    """A function that installs a package with one metric."""

    def register(source, name, target, package="shiny_metrics"):
        install(tmp_path / "packages", monkeypatch, package, source, {GROUP: {name: target}})

    return register


@pytest.fixture
def pairs():
    """The base images and the candidate images of three pairs."""
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    return list(images[0]), list(images[1] // 2)


def test_without_packages_there_are_no_metrics(pairs):
    assert registered_metrics() == []
    assert measured([], *pairs, PROMPTS) == {}


def test_registered_metrics_are_measured_on_the_pairs(register, pairs):
    register(CONTRAST, "contrast", "Contrast")
    register(CONSTANT.replace("VALUES", '{"constant": len(prompts)}'), "constant", "Constant", package="dull_metrics")
    metrics = registered_metrics("cuda")
    assert [metric.name for metric in metrics] == ["constant", "contrast"]
    assert metrics[1].device == "cuda"
    values = measured(metrics, *pairs, PROMPTS)
    assert values == {
        "constant": 3.0,
        "contrast.base": pytest.approx(np.mean([image.std() for image in pairs[0]])),
        "contrast.candidate": pytest.approx(np.mean([image.std() for image in pairs[1]])),
    }
    assert {type(value) for value in values.values()} == {float}


def test_a_metric_may_leave_values_out(register, pairs):
    register(CONSTANT.replace("VALUES", "{}"), "constant", "Constant")
    assert measured(registered_metrics(), *pairs, PROMPTS) == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("{'constant': float('nan')}", "'constant' is nan, which is no finite number"),
        ("{'constant.p': float('-inf')}", "is -inf"),
        ("{'constant': '0.5'}", "is '0.5'"),
        ("{'constant': True}", "is True"),
        ("{'constant': None}", "is None"),
        ("{'kid': 1.0}", "a value called 'kid'"),
        ("{'constantly': 1.0}", "a value called 'constantly'"),
        ("{'constant.<b>': 1.0}", "a value called 'constant.<b>'"),
        ("{3: 1.0}", "a value called 3"),
        ("1.0", "1.0 instead of values by name"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_values_that_cannot_stand_in_the_evidence_are_one_error(values, words, register, pairs):
    register(CONSTANT.replace("VALUES", values), "constant", "Constant")
    with pytest.raises(LoadError) as error:
        measured(registered_metrics(), *pairs, PROMPTS)
    assert "the metric 'constant'" in error.value.what
    assert words in error.value.why


def test_an_error_for_users_passes_as_it_is(register, pairs):
    raising = "from dmun_audit.measures.protocol import UsageError; raise UsageError('too small')"
    register(CONSTANT.replace("return VALUES", raising), "constant", "Constant")
    with pytest.raises(UsageError) as error:
        measured(registered_metrics(), *pairs, PROMPTS)
    assert error.value.what == "too small"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise OSError('no such library')", "cannot be imported"),
        ("def Contrast(device): raise OSError('no such weights')", "OSError: no such weights"),
        ("def Contrast(): pass", "cannot be opened"),
        ("Contrast = 3", "cannot be opened"),
        ("def Contrast(device): return None", "does not keep the protocol"),
        (CONTRAST.replace('name = "contrast"', 'name = "kid"'), "does not keep the protocol"),
        (CONTRAST.replace("def measure", "def measures"), "does not keep the protocol"),
    ],
)
def test_a_package_that_does_not_keep_the_protocol_is_one_error(source, words, register):
    register(source, "contrast", "Contrast")
    with pytest.raises(LoadError, match=words) as error:
        registered_metrics()
    assert "contrast" in error.value.what
    assert "shiny_metrics:Contrast" in error.value.why


@pytest.mark.parametrize("name", ["kid", "lpips", "clip_score_base", "true_rate_upper", "con.trast", "con trast"])
def test_a_name_that_is_taken_or_malformed_cannot_be_registered(name, register):
    register(CONTRAST, name, "Contrast")
    with pytest.raises(UsageError, match="is registered as the metric"):
        registered_metrics()


def test_every_measure_that_the_report_words_is_taken():
    assert set(_MEASURES) <= BUILT_IN


def test_the_example_of_the_contract_runs():
    results = doctest.testmod(protocol)
    assert (results.failed, results.attempted > 0) == (0, True)
