"""Reports say at once that images were drawn with a quick profile, and where the size of batches comes from."""

import json

import pytest

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import render_html
from dmun_audit.report.scope import FAST, tried
from dmun_audit.report.text import summary_lines


@pytest.mark.parametrize("profile", ["fidelity", "fast"])
def test_the_first_screen_says_that_the_profile_is_fast(folder, profile):
    folder.manifest["policy"] = folder.manifest["policy"] | {"text": {"sampling": {"profile": profile}}}
    run = read_run(folder.close())
    words = " ".join(" ".join(summary_lines(run)).split())
    assert (FAST in words) == (profile == "fast")
    first_section = render_html(run).partition("</section>")[0]
    assert (FAST in first_section) == (profile == "fast")


def test_a_measured_batch_is_said_beside_the_settings(folder):
    without = tried(read_run(folder.close()))
    manifest = json.loads((folder.path / "manifest.json").read_text())
    manifest["sampler"] |= {"batch": 32, "batch_origin": "measured on cuda NVIDIA H200"}
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    assert tried(read_run(folder.path)) == without + " 32 images in a batch: measured on cuda NVIDIA H200."
    assert "in a batch" not in without
