"""Quantisation, completion and learned embeddings: what they change, what they leave, and that a search is the same each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from atelier_benches import attack, bench_over, drawn, two_models, units

from dmun_audit.models.fingerprint import digests
from dmun_audit.models.in_memory import copy_to_draw_with
from dmun_audit.probes import learned_embedding
from dmun_audit.probes.completion import PROBE as COMPLETION
from dmun_audit.probes.learned_embedding import PROBE as EMBEDDING
from dmun_audit.probes.parts.tokens import embeddings, injected, placeholder
from dmun_audit.probes.probe import Dose, with_name
from dmun_audit.probes.quantisation import PROBE as QUANTISATION
from dmun_audit.probes.quantisation import quantised


@pytest.fixture(scope="module")
def models():
    return two_models()


@pytest.fixture
def bench(models, tmp_path):
    return bench_over(tmp_path, models, steps=4)


def linear_weights(pipeline):
    return {name: each.weight for name, each in pipeline.unet.named_modules() if isinstance(each, torch.nn.Linear)}


# Quantisation.


def test_fewer_bits_round_linear_weights_of_a_copy_more_and_leave_the_model_as_it_was(models):
    model, before = models[1], digests(models[1].pipeline)
    original, errors = linear_weights(model.pipeline), {}
    for bits in (8, 4):
        copy = quantised(copy_to_draw_with(model), bits)
        rounded = linear_weights(copy)
        errors[bits] = float(np.mean([float((rounded[name] - value).abs().mean()) for name, value in original.items()]))
        others = [name for name, _ in copy.unet.named_parameters() if name.removesuffix(".weight") not in original]
        for name in others:
            assert torch.equal(copy.unet.get_parameter(name), model.pipeline.unet.get_parameter(name))
    assert 0 < errors[8] < errors[4] / 5
    assert digests(model.pipeline) == before


def test_eight_bits_draw_nearly_the_same_picture_and_the_placebo_needs_none(bench):
    plain = drawn(bench, None)
    eight, four = (drawn(bench, QUANTISATION.recipe(attack(), dose, units())) for dose in QUANTISATION.doses("small"))
    assert QUANTISATION.placebo(attack(), QUANTISATION.doses("small")[0], units()) is None
    distance = [
        np.mean([np.abs(one.astype(int) - other).mean() for one, other in zip(plain, each, strict=True)])
        for each in (eight, four)
    ]
    assert 0 < distance[0] < distance[1]


# Completion.


def test_a_picture_that_the_base_draws_to_its_end_is_the_bases(bench):
    recipe = COMPLETION.recipe(attack(), Dose("all steps", {"share": 100}), units())
    for one, other in zip(drawn(bench, recipe), drawn(bench, None, "base"), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 2


def test_the_more_steps_the_base_draws_the_nearer_is_the_picture_to_its_own(bench):
    base = drawn(bench, None, "base")
    shares = [COMPLETION.recipe(attack(), Dose(f"{share}%", {"share": share}), units()) for share in (25, 75)]
    distances = [
        np.mean([np.abs(one.astype(int) - other).mean() for one, other in zip(drawn(bench, recipe), base, strict=True)])
        for recipe in shares
    ]
    assert distances[1] < distances[0]


def test_the_made_up_name_of_a_placebo_changes_what_the_candidate_finishes(bench):
    dose = COMPLETION.doses("small")[0]
    ours, placebo = COMPLETION.recipe(attack(), dose, units()), COMPLETION.placebo(attack(), dose, units())
    assert any(not np.array_equal(*pair) for pair in zip(drawn(bench, ours), drawn(bench, placebo), strict=True))


# Learned embeddings.


@pytest.fixture
def few_steps(monkeypatch):
    figures = learned_embedding.Figures((2, 60), 2e-2, images=4, batch=4, parts=1)
    monkeypatch.setitem(learned_embedding.FIGURES, "small", figures)


def recipe_after(steps):
    dose = next(dose for dose in EMBEDDING.doses("small") if dose.gradient_steps == steps)
    return EMBEDDING.recipe(attack(), dose, units())


def test_the_same_pictures_give_the_same_word_and_a_search_that_was_stopped_goes_on(models, few_steps, tmp_path, monkeypatch):
    whole = EMBEDDING.find(bench_over(tmp_path / "one", models), "candidate", recipe_after(60))
    again = EMBEDDING.find(bench_over(tmp_path / "two", models), "candidate", recipe_after(60))
    stopped = bench_over(tmp_path / "three", models)
    stepped, count = stopped.stepped, []

    def stop_at_55():
        count.append(1)
        if len(count) == 55:
            raise KeyboardInterrupt
        stepped()

    monkeypatch.setattr(stopped, "stepped", stop_at_55)
    with pytest.raises(KeyboardInterrupt):
        EMBEDDING.find(stopped, "candidate", recipe_after(60))
    monkeypatch.undo()
    monkeypatch.setitem(learned_embedding.FIGURES, "small", learned_embedding.Figures((2, 60), 2e-2, 4, 4, 1))
    resumed = EMBEDDING.find(bench_over(tmp_path / "three", models), "candidate", recipe_after(60))
    assert whole.key == again.key == resumed.key
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, again.tensors[name]), name
        assert torch.equal(tensor, resumed.tensors[name]), name


def error_with(network, bench, vector, gradient=False):
    """The error of noise prediction on fixed pictures, noise and times, with a word of this embedding."""
    examples = attack().examples
    word = placeholder(network, [example.prompt for example in examples])
    texts = [with_name(example.prompt, attack().names, word.word) for example in examples]
    latents = network.encode(bench.example_images(recipe_after(2))).to(vector.dtype)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latents.shape, generator=generator, dtype=vector.dtype)
    times = torch.tensor([100, 300, 500, 700])
    with torch.set_grad_enabled(gradient), injected(network, word, [vector]):
        conditions = network.conditions(texts)
        predicted = network.predict(network.noised(latents, noise, times), times, conditions)
    return (predicted - network.goal(latents, noise, times)).square().mean()


def test_the_error_falls_on_pictures_noise_and_times_that_stay_the_same(models, few_steps, tmp_path):
    bench = bench_over(tmp_path, models)
    network = bench.network("candidate")
    found = EMBEDDING.find(bench, "candidate", recipe_after(60)).tensors
    start = embeddings(network)[0].mean(dim=0)
    assert error_with(network, bench, found["encoder_0@60"]) < error_with(network, bench, start)


def test_the_gradient_of_a_word_agrees_with_finite_differences(models, few_steps, tmp_path):
    bench = bench_over(tmp_path, models)
    network = bench.network("candidate")
    network.pipeline.unet.double()
    network.pipeline.text_encoder.double()
    try:
        vector = embeddings(network)[0].mean(dim=0).double().requires_grad_(True)
        (gradient,) = torch.autograd.grad(error_with(network, bench, vector, gradient=True), vector)
        direction = torch.nn.functional.normalize(torch.randn(len(vector), dtype=torch.float64), dim=0)
        step = 1e-5
        ends = [error_with(network, bench, vector.detach() + sign * step * direction) for sign in (1, -1)]
        assert float((ends[0] - ends[1]) / (2 * step)) == pytest.approx(float(gradient @ direction), rel=1e-5)
    finally:
        network.pipeline.unet.float()
        network.pipeline.text_encoder.float()


def test_a_changed_figure_is_another_find(models, few_steps, tmp_path, monkeypatch):
    bench = bench_over(tmp_path, models)
    keys = []
    for rate in (1e-3, 2e-3):
        monkeypatch.setitem(learned_embedding.FIGURES, "small", learned_embedding.Figures((1, 2), rate, 4, 4, 1))
        keys.append(EMBEDDING.find(bench, "candidate", recipe_after(2)).key)
    assert keys[0] != keys[1]


def test_a_damaged_find_is_searched_again(models, few_steps, tmp_path):
    bench = bench_over(tmp_path, models)
    found = EMBEDDING.find(bench, "candidate", recipe_after(60))
    file = next(tmp_path.glob("finds/*/*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    again = EMBEDDING.find(bench_over(tmp_path, models), "candidate", recipe_after(60))
    assert all(torch.equal(value, again.tensors[name]) for name, value in found.tensors.items())
    assert file.read_bytes() != bytes(data)
