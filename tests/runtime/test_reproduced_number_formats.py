"""A repetition on another device draws in the number format of the run, so that seeds and fresh prompts are those of the run."""

from dataclasses import replace

import pytest
from example_runs import WrittenRun

from dmun_audit.evidence.inputs import POLICY
from dmun_audit.evidence.run import read_run
from dmun_audit.plan.seeds import figures_digest
from dmun_audit.policy import BUILT_IN, load_policy
from dmun_audit.runtime.reproduction import _policy


@pytest.mark.parametrize(
    ("written", "drawn", "repeated"),
    [("auto", "bfloat16", "bfloat16"), ("auto", "float32", "auto"), ("float16", "float16", "float16")],
)
def test_the_format_that_a_device_decided_is_kept(tmp_path, written, drawn, repeated):
    folder = WrittenRun(tmp_path / "run")
    folder.manifest["sampler"]["dtype"] = drawn
    text = (BUILT_IN / "smoke.toml").read_text()
    (folder.path / POLICY).write_text(text.replace('dtype = "auto"', f'dtype = "{written}"'))
    policy = _policy(read_run(folder.close()))
    assert policy == replace(load_policy("smoke"), sampling=replace(load_policy("smoke").sampling, dtype=repeated))
    assert figures_digest(policy) == figures_digest(load_policy("smoke"))
