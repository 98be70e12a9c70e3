"""Detectors of other packages: installed through real entry points, opened by their names, and held to the protocol."""

import doctest
import sys

import numpy as np
import pytest
from installed_packages import install

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.judge import protocol
from dmun_audit.judge.detection import calibrate
from dmun_audit.judge.kinds import BUILT_IN, check_judge, detector_kinds, parse_judge
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.judge.registered import GROUP
from dmun_audit.judge.views import CLEAR

BRIGHTNESS = """
    import hashlib
    import numpy as np
    from dmun_audit.judge.protocol import ScoreScale

    opened = []

    class Brightness:
        scale = ScoreScale(lowest=0.1)

        def __init__(self, reference, target):
            self.reference, self.channel = reference.text, int(reference.query or 0)
            self.digest = hashlib.sha256(f"brightness 1 {self.channel} {target.name}".encode()).hexdigest()

        def target_scores(self, images):
            return np.array([image[..., self.channel].mean() / 255 for image in images])

    class Network:
        def detector(self, reference, target):
            return Brightness(reference, target)

    def open_network(reference, device):
        opened.append((reference.source, reference.query, device))
        return Network()
"""
KEYS = [digest(["image", index]) for index in range(19)]


@pytest.fixture
def register(tmp_path, monkeypatch):
    """A function that installs a package with one detector."""

    def register(source, name="brightness", package="shiny_detectors", target="open_network"):
        install(tmp_path / "packages", monkeypatch, package, source, {GROUP: {name: target}})

    return register


def test_a_registered_detector_is_a_judge_like_any_other(register, dossier, images, tmp_path):
    register(BRIGHTNESS)
    stored = dict(zip(KEYS, images, strict=True))
    loader = JudgeLoader("cpu")
    scorer = loader.clip_scorer(
        "atelier:judge", dossier, tmp_path, lambda keys: [stored[key] for key in keys], "brightness:any#2"
    )
    expected = [np.float32(image[..., 2].mean() / 255) for image in images]
    assert scorer.target_scores(KEYS).tolist() == expected
    assert scorer.threshold(KEYS) == calibrate(np.array(expected, dtype=float), 0.1)
    assert scorer.reference == "brightness:any#2"
    second = loader.second_judge("brightness:any#1", scorer, tmp_path, lambda keys: [stored[key] for key in keys])
    assert not np.array_equal(second.target_scores(KEYS), scorer.target_scores(KEYS))
    with pytest.raises(LoadError, match="agree with itself"):
        loader.second_judge("brightness:other#2", scorer, tmp_path, lambda keys: [])
    assert sys.modules["shiny_detectors"].opened == [("any", "2", "cpu"), ("other", "2", "cpu")]


def test_checking_a_reference_does_not_import_the_package(register):
    register("raise RuntimeError('this package was imported')")
    reference = parse_judge("brightness:any thing#x")
    assert (reference.kind, reference.source, reference.query) == ("brightness", "any thing", "x")
    assert parse_judge("brightness:").source == ""
    with pytest.raises(LoadError, match=r"cannot be imported[\s\S]*this package was imported"):
        JudgeLoader("cpu").network(reference)


def test_the_command_line_takes_it_by_its_name(register):
    register(BRIGHTNESS)
    options = {"model": "atelier:retrained", "target": "Van Gogh", "policy": "smoke"}
    config = resolve(Options(**options, detector="brightness:any#2", second_judge="brightness:any"))
    assert (config.detector, config.second_judge) == ("brightness:any#2", "brightness:any")
    with pytest.raises(LoadError, match=r"no CLIP model[\s\S]*--detector"):
        resolve(Options(**options, judge="brightness:any"))


def test_an_unknown_kind_is_one_error_with_all_kinds_and_a_suggestion(register):
    register(BRIGHTNESS)
    with pytest.raises(LoadError) as error:
        parse_judge("brigthness:any")
    assert "did you mean brightness:?" in error.value.remedy
    assert all(kind.usage in error.value.remedy for kind in BUILT_IN)
    assert "brightness:SOURCE#QUERY" in error.value.remedy
    assert "open_clip:ARCH/TAG" in error.value.remedy
    with pytest.raises(LoadError) as error:
        check_judge("brigthness:any")
    assert "brightness" not in error.value.remedy


@pytest.mark.parametrize("name", ["classifier", "vlm", "open_clip", "atelier"])
def test_the_name_of_a_built_in_kind_cannot_be_registered(name, register):
    register(BRIGHTNESS, name)
    with pytest.raises(UsageError, match=f"shiny_detectors:open_network is registered as the detector '{name}'"):
        detector_kinds()


def test_two_packages_cannot_register_one_name(register):
    register(BRIGHTNESS)
    register(BRIGHTNESS, package="dull_detectors")
    with pytest.raises(UsageError, match="two packages register 'brightness'"):
        parse_judge("brightness:any")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("open_network = 3", "nothing that can be called"),
        ("def open_network(reference, device): return None", r"no object with a method detector\(reference, target\)"),
        ("def open_network(reference, device): raise OSError('no such weights')", "OSError: no such weights"),
        ("def open_network(reference): pass", "TypeError"),
        (BRIGHTNESS + "\n    Network.detector = lambda *_: None", r"no method target_scores"),
        (BRIGHTNESS + "\n    Brightness.scale = 0.1", "no ScoreScale"),
        (BRIGHTNESS.replace("reference.text", "reference"), "no text"),
        (BRIGHTNESS.replace(".hexdigest()", ".digest()"), "no SHA-256"),
        (BRIGHTNESS.replace("hashlib.sha256", "hashlib.md5"), "no SHA-256"),
        (BRIGHTNESS.replace("int(reference.query or 0)", "int('red')"), "ValueError: invalid literal"),
    ],
)
def test_a_package_that_does_not_keep_the_protocol_is_one_error(source, words, register, detector):
    register(source)
    with pytest.raises(LoadError, match=words) as error:
        detector("brightness:any")
    assert "brightness:any" in error.value.what
    assert "shiny_detectors:open_network" in error.value.why


def test_an_error_for_users_passes_as_it_is(register, detector):
    register("""
        from dmun_audit.judge.protocol import LoadError

        def open_network(reference, device):
            raise LoadError("there is no watermark key", "it expired", "ask for another")
    """)
    with pytest.raises(LoadError) as error:
        detector("brightness:any")
    assert (error.value.what, error.value.remedy) == ("there is no watermark key", "ask for another")


def test_the_example_of_the_contract_runs():
    results = doctest.testmod(protocol)
    assert (results.failed, results.attempted > 0) == (0, True)


@pytest.mark.parametrize("score", ["np.nan", "np.inf", "None", "'bright'", "[0.1, 0.2]"])
def test_scores_that_are_no_finite_numbers_are_one_error(score, register, dossier, images, tmp_path):
    register(BRIGHTNESS.replace("image[..., self.channel].mean() / 255 for image", f"{score} for image"))
    stored = dict(zip(KEYS, images, strict=True))
    scorer = JudgeLoader("cpu").clip_scorer(
        "atelier:judge", dossier, tmp_path, lambda keys: [stored[key] for key in keys], "brightness:any#2"
    )
    for ask in (scorer.target_scores, scorer.threshold, scorer.through(CLEAR).target_scores):
        with pytest.raises(LoadError, match="no scores between 0 and 1"):
            ask(KEYS)
