"""A repetition on another device draws in the number format of the run, and as fast: seeds and prompts are those of the run."""

from dataclasses import replace

import pytest
from example_runs import WrittenRun

from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.evidence.inputs import POLICY
from dmun_audit.evidence.run import read_run
from dmun_audit.plan.seeds import figures_digest
from dmun_audit.policy import BUILT_IN, load_policy
from dmun_audit.runtime import reproduction
from dmun_audit.runtime.manifest import _options
from dmun_audit.runtime.reproduction import _policy


@pytest.mark.parametrize(
    ("key", "written", "drawn", "repeated"),
    [
        ("dtype", "auto", "bfloat16", "bfloat16"),
        ("dtype", "auto", "float32", "auto"),
        ("dtype", "float16", "float16", "float16"),
        ("acceleration", "auto", "layout", "layout"),
        ("acceleration", "auto", "none", "auto"),
        ("acceleration", "auto", None, "auto"),  # a run of before
        ("acceleration", "compiled", "layout", "compiled"),  # both models would be compiled, if one had no code of its own
    ],
)
def test_what_a_device_decided_is_kept(tmp_path, key, written, drawn, repeated):
    folder = WrittenRun(tmp_path / "run")
    folder.manifest["sampler"][key] = drawn
    text = (BUILT_IN / "smoke.toml").read_text()
    figures = {"dtype": "auto"} | {key: written}
    (folder.path / POLICY).write_text(
        text.replace('dtype = "auto"', "\n".join(f'{name} = "{value}"' for name, value in figures.items()))
    )
    policy = _policy(read_run(folder.close()))
    assert policy == replace(load_policy("smoke"), sampling=replace(load_policy("smoke").sampling, **{key: repeated}))
    assert figures_digest(policy) == figures_digest(load_policy("smoke"))


def test_on_a_gpu_a_run_of_before_is_drawn_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "acceleration", lambda level: "layout")
    folder = WrittenRun(tmp_path / "run")
    (folder.path / POLICY).write_text((BUILT_IN / "smoke.toml").read_text())
    assert "acceleration" not in folder.manifest["sampler"]
    assert _policy(read_run(folder.close())).sampling.acceleration == "none"


def test_how_networks_were_offloaded_is_written_for_the_repetition(tmp_path, store):
    config = resolve(Options(target="Van Gogh", model="atelier:noop", policy="smoke", store=str(store)), only_listed=True)
    assert "offload" not in _options(config)
    assert _options(replace(config, offload="sequential"))["offload"] == "sequential"
