"""`dmun-audit spot-check`: a blinded sample, labels that survive, numbers that are right, a verdict that stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from labelled_runs import SECRET, person_of, write_run
from PIL import Image

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.cli import main
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.report.html import render_html
from dmun_audit.report.spot_check import read_spot_check
from dmun_audit.report.text import summary_lines
from dmun_audit.spot_check.claims import RateClaim
from dmun_audit.spot_check.labeling_session import begin_session, blinded_png
from dmun_audit.spot_check.labels import FILE, Label, append_label, read_labels
from dmun_audit.spot_check.strata import Stratum, draw_sample, image_file, judged_images, presentation_order, sample_size_for
from dmun_audit.verdict.agreement import ConfusionTable
from dmun_audit.verdict.bounds import upper_bound
from dmun_audit.verdict.finite_population import count_upper_bound
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Stopping


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


@pytest.fixture
def images(folder):
    return judged_images(read_run(folder).cases)


def labeling_session(folder, person="Ann", size=None, seed=None):
    run = read_run(folder)
    images, labels = judged_images(run.cases).values(), read_labels(folder, run.digest)
    return begin_session(folder, run.digest, images, labels, person=person, size=size, seed=seed)


def label_all(folder, answer, **options):
    """Answer for the whole sample, by a function of the judged image."""
    images, begun = judged_images(read_run(folder).cases), labeling_session(folder, **options)
    for key in begun.order:
        begun.answer(key, answer(images[key]))
    return begun


def like_the_judge(image):
    return "yes" if image.stratum.detected else "no"


def test_half_of_a_sample_is_detected_and_every_stratum_is_in_it(images):
    counts = Counter(images[key].stratum for key in draw_sample(images.values(), 40, 5))
    assert sum(amount for stratum, amount in counts.items() if stratum.detected) == 20
    undetected = [amount for stratum, amount in counts.items() if not stratum.detected]
    assert sorted(undetected) == [5, 5, 5, 5]
    assert counts[Stratum("erasure", True)] == 1


def test_a_sample_is_decided_by_its_seed_and_a_larger_one_holds_a_smaller(images):
    backwards = dict(reversed(images.items())).values()
    assert draw_sample(images.values(), 40, 5) == draw_sample(backwards, 40, 5) != draw_sample(images.values(), 40, 6)
    assert draw_sample(images.values(), 94, 5)[:40] == draw_sample(images.values(), 40, 5)
    assert sorted(draw_sample(images.values(), 1000, 5)) == sorted(images)


def test_within_a_stratum_every_image_is_drawn_equally_often(images):
    drawn = Counter(key for seed in range(600) for key in draw_sample(images.values(), 40, seed))
    members = [key for key, image in images.items() if image.stratum == Stratum("erasure", False)]
    shares = [drawn[key] / 600 for key in members]
    assert sum(shares) == pytest.approx(5)
    assert max(abs(share - 5 / len(members)) for share in shares) < 0.07


def test_the_order_of_the_sample_says_nothing_of_the_judge(images):
    first = [
        images[presentation_order(draw_sample(images.values(), 40, seed), seed, "Ann")[0]].stratum.detected for seed in range(300)
    ]
    assert 0.4 < sum(first) / len(first) < 0.6


def test_a_sample_of_the_size_named_holds_as_many_of_a_stratum_as_were_wanted(images):
    sizes, stratum = Counter(image.stratum for image in images.values()), Stratum("erasure", False)
    for wanted in (1, 5, 12, 29):
        amount = sample_size_for(stratum, wanted, sizes)
        drawn = [sum(images[key].stratum == stratum for key in draw_sample(images.values(), n, 3)) for n in (amount - 1, amount)]
        assert drawn == [wanted - 1, wanted]


def test_a_blinded_image_holds_its_pixels_and_nothing_else(folder, images):
    file = image_file(folder, next(iter(images)))
    assert SECRET.encode() in file.read_bytes()
    data = blinded_png(file)
    chunks, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append(data[place + 4 : place + 8])
        place += 12 + length
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    copy = folder / "copy.png"
    copy.write_bytes(data)
    assert np.array_equal(np.asarray(Image.open(copy)), np.asarray(Image.open(file)))


def test_the_terminal_shows_neither_model_nor_prompt_nor_key(folder, images, monkeypatch, capsys):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "n")
    assert main(["spot-check", str(folder), "--terminal", "--by", "Ann", "--images", "12"]) == 0
    shown = capsys.readouterr().out.split("judge: yes")[0] + "".join(questions)
    assert "Does this show Van Gogh (style)?" in shown
    assert SECRET not in shown
    assert not any(key in shown for key in images)
    assert not any(word in shown for word in ("candidate", "base", "0.9", "0.1"))


def test_a_person_can_go_back_and_the_last_answer_counts(folder, monkeypatch):
    answers = iter(["y", "what", "back", "u", "n", "q"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    assert main(["spot-check", str(folder), "--terminal", "--by", "Ann"]) == 0
    labels = read_labels(folder, read_run(folder).digest).by_person["Ann"]
    assert [label.answer for label in labels.values()] == ["unsure", "no"]
    assert len((folder / FILE).read_text().splitlines()) == 3


def test_a_killed_session_goes_on_where_it_stood(folder):
    command = [sys.executable, "-m", "dmun_audit.cli", "spot-check", str(folder), "--terminal", "--by", "Ann"]
    begun = subprocess.Popen([*command, "--images", "9"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        begun.stdin.write("y\n")
        begun.stdin.flush()
    while "[4/9]" not in begun.stdout.readline():
        pass
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    with (folder / FILE).open("ab") as stream:
        stream.write(b'{"by": "Ann", "key')
    again = subprocess.run(command, input="n\n" * 6, capture_output=True, text=True, check=True)
    assert "9 images to label, 3 already labelled" in again.stdout
    assert "9 of 9 images labelled" in again.stdout
    person = person_of(read_run(folder), "Ann")
    assert (person.labelled, person.size, person.judge.table.both + person.judge.table.first_only) == (9, 9, 3)


def test_no_torch_is_loaded(folder):
    code = f"import sys; from dmun_audit.cli import main; main(['spot-check', {str(folder)!r}, '--terminal']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], input="y\nq\n", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_where_nobody_can_be_asked_there_is_one_clear_error(folder):
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    command = [sys.executable, "-m", "dmun_audit.cli", "spot-check", str(folder), "--by", "Ann"]
    for more, message in (([], "nobody can be asked"), (["--terminal"], "nobody answers")):
        done = subprocess.run([*command, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=bare)
        assert done.returncode == 4
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_second_person_sees_the_same_images_in_another_order(folder):
    first = label_all(folder, like_the_judge, person="Ann", size=20)
    second = labeling_session(folder, person="Bo", size=20)
    assert second.seed == first.seed
    assert sorted(second.order) == sorted(first.order)
    assert second.order != first.order
    assert second.answers == {}


def test_a_sample_can_grow_and_keeps_its_seed(folder):
    first = label_all(folder, like_the_judge, person="Ann", size=20, seed=11)
    assert labeling_session(folder).order[:20] == first.order
    grown = labeling_session(folder, size=50)
    assert (grown.order[:20], grown.first_open, len(grown.order)) == (first.order, 20, 50)
    with pytest.raises(UsageError, match="not the seed"):
        labeling_session(folder, seed=12)


def test_a_folder_that_cannot_be_sampled_is_a_usage_error(folder, images, capsys):
    image_file(folder, next(iter(images))).unlink()
    with pytest.raises(UsageError, match="lacks 1 of 94 images"):
        labeling_session(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"exit_code": None}))
    assert main(["spot-check", str(folder), "--terminal", "--by", "Ann"]) == 4
    assert "no finished audit" in capsys.readouterr().err


def test_labels_that_cannot_be_written_do_not_count(folder):
    begun = labeling_session(folder)
    (folder / FILE).mkdir()
    with pytest.raises(StoreError, match=FILE):
        begun.answer(begun.order[0], "yes")
    assert begun.answers == {}


def test_the_numbers_are_those_of_the_answers(folder, images):
    wrong = {next(key for key, image in images.items() if image.stratum == Stratum("base", True))}
    label_all(folder, lambda image: "no" if image.key in wrong else like_the_judge(image), size=94)
    person = person_of(read_run(folder), "Ann")
    assert person.judge.table == ConfusionTable(23, 0, 1, 70)
    assert [one.image.key for one in person.disagreements] == [*wrong]
    assert (person.misses.estimate, person.misses.upper, person.false_alarms.upper) == (0, 0, 0)
    assert [(claim.upper, claim.doubtful) for claim in person.claims] == [(1, False)]


def test_misses_are_carried_over_to_all_images_by_exact_bounds(folder):
    seen = iter(["yes", "unsure"])
    rest = lambda image: next(seen, "no") if image.stratum == Stratum("erasure", False) else like_the_judge(image)  # noqa: E731
    label_all(folder, rest, size=40)
    person = person_of(read_run(folder), "Ann")
    row = next(row for row in person.strata if row.stratum == Stratum("erasure", False))
    assert (row.images, row.yes, row.unsure, row.no) == (29, 1, 1, 3)
    assert row.upper == count_upper_bound(2, 5, 29)
    assert row.lower == 1
    claim = person.claims[0]
    assert (claim.labelled, claim.missed, claim.upper) == (5, 1, 1 + count_upper_bound(2, 5, 29))
    assert claim.doubtful


def test_a_miss_warns_and_the_verdict_stays(folder):
    before = read_run(folder)
    label_all(folder, lambda image: "yes" if image.stratum.source == "erasure" else like_the_judge(image), size=40)
    assert main(["report", str(folder)]) == 0
    run = read_run(folder)
    assert (run.verdict, run.altered, run.cases) == ("PASS", False, before.cases)
    page, lines = (folder / "report.html").read_text(), " ".join(" ".join(summary_lines(run)).split())
    for text in (page, lines):
        assert "Ann saw the target in 5 of 5 labelled images in which the judge did not detect it" in text
        assert "do not support the claim" in text
    assert page.count('<figure class="pair single telling">') == 5


def test_few_labels_without_a_miss_say_how_many_would_do(folder):
    label_all(folder, like_the_judge, size=40)
    claim = person_of(read_run(folder), "Ann").claims[0]
    assert claim.doubtful
    assert "warning" not in " ".join(summary_lines(read_run(folder)))
    label_all(folder, like_the_judge, size=claim.images_for_proof)
    assert not person_of(read_run(folder), "Ann").claims[0].doubtful


def test_people_are_compared_with_each_other(folder):
    label_all(folder, like_the_judge, person="Ann", size=30)
    flips = random.Random(2)
    label_all(folder, lambda image: "yes" if flips.random() < 0.5 else "no", person="Bo", size=20)
    page = render_html(read_run(folder))
    agreed = person_of(read_run(folder), "Bo").judge.table  # Ann answers like the judge
    assert f"Ann and Bo: {agreed.agreeing} of 20 answers agree" in page


def test_labels_of_another_evidence_are_ignored_with_a_word(folder, images):
    append_label(folder, Label("Zephyrine", next(iter(images)), "yes", "2026-11-27T00:00:00Z", 1, 40, "0" * 64))
    run = read_run(folder)
    assert "Ignored 1 label of other evidence." in render_html(run)
    assert "Zephyrine" not in render_html(run)
    assert labeling_session(folder, person="Zephyrine").answers == {}


def test_texts_of_the_file_cannot_leave_the_page(folder):
    label_all(folder, like_the_judge, person="<script>alert(1)</script>", size=4)
    page = render_html(read_run(folder))
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_lines_that_are_no_labels_are_left_out(folder):
    label_all(folder, like_the_judge, size=4)
    with (folder / FILE).open("ab") as stream:
        stream.write(b'[]\n{"by": 1}\n\xff\n' + b"[" * 100_000 + b"\n")
        stream.write(
            json.dumps({"by": "Bo", "key": "k", "answer": "maybe", "at": "", "seed": 1, "images": 1, "evidence": ""}).encode()
        )
    assert [person.name for person in read_spot_check(read_run(folder)).people] == ["Ann"]


RATE_CLAIM = ClaimRecord(kind="rate_at_most", hits=0, trials=64, threshold=0.05, alpha_pass=0.05, stopping="early")


def test_a_claim_that_stopped_early_is_bounded_by_its_own_rule():
    early, fixed = RateClaim.of(RATE_CLAIM), RateClaim.of(RATE_CLAIM.model_copy(update={"stopping": Stopping.FIXED}))
    for hits in (0, 3, 64):
        own_rule = SequentialClaim("rate", 0.05, 0.05, 0.05, 0.05)
        assert early.upper_bound(hits) == own_rule.upper(OutcomeCounts(64 - hits, 0, hits))
        assert fixed.upper_bound(hits) == upper_bound(hits, 64, 0.05)
        assert early.upper_bound(hits) >= fixed.upper_bound(hits)


@pytest.mark.parametrize(
    "change",
    [{"hits": None}, {"hits": -1}, {"hits": 65}, {"trials": 0}, {"threshold": 1.0}, {"threshold": None}, {"alpha_pass": 0.0}],
)
def test_numbers_that_are_no_claim_on_a_rate_are_not_recounted(change):
    assert RateClaim.of(RATE_CLAIM) is not None
    assert RateClaim.of(RATE_CLAIM.model_copy(update=change)) is None
    assert RateClaim.of(None) is None
