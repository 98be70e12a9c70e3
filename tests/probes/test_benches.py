"""Benches of several targets over the same models: each has a control of its own."""

import pytest
from atelier_benches import bench_over, loaded, two_models, units

from dmun_audit._util.errors import UsageError
from dmun_audit.plan.case import CONTROL_MODEL
from dmun_audit.probes.completion import PROBE
from dmun_audit.probes.parts.bench import Bench
from dmun_audit.probes.probe import Attack
from dmun_audit.render.devices import memory_errors


def test_two_targets_of_a_session_have_two_controls_and_their_images_two_keys(tmp_path):
    base, candidate = two_models()
    first = bench_over(tmp_path, (base, candidate), load_control=lambda: loaded("retrained", base), control_reference="one")
    second = Bench(first.engine, lambda: candidate, "other")
    recipe = PROBE.recipe(Attack("small", ("Van Gogh",)), PROBE.doses("small")[0], units())
    keys = []
    for bench in (first, second, first):
        bench.take_over()
        assert bench.model(CONTROL_MODEL) is not base
        keys.append([first.engine.key(request) for request in units(CONTROL_MODEL, recipe)])
        assert bench.network(CONTROL_MODEL).model is bench.model(CONTROL_MODEL)
    assert keys[0] == keys[2] != keys[1]
    assert second.model("candidate") is candidate


def test_a_device_without_memory_gives_one_error_that_says_where_and_what_to_do():
    import torch

    with pytest.raises(UsageError, match="in the probe p4d") as caught, memory_errors("in the probe p4d", "lower probes.row"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GB.")
    assert "probes.row" in caught.value.remedy
