"""Probes that draw: with more noise, from pictures, and under the guidance of a classifier."""

from __future__ import annotations

import families
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawing_bench import PROMPTS, SEEDS, attack, distance, open_bench, requests

from dmun_audit.plan.case import ImageRequest, Recipe
from dmun_audit.probes import image_to_image, inpainting, inverted_latents, latent_guidance, noise
from dmun_audit.probes.parts.classifier import NoisyClassifier, pull, pulled, restored
from dmun_audit.probes.parts.drawing import ddim, drawn, noised_for
from dmun_audit.probes.parts.network import Network, denoise
from dmun_audit.probes.probe import Dose

PROBES = (noise.PROBE, image_to_image.PROBE, inpainting.PROBE, inverted_latents.PROBE)
ROUNDING = 1  # level: batches of another size give other last bits


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    return open_bench(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def encoded(bench):
    return bench.network("candidate").encode(bench.base_images(requests()))


@pytest.fixture
def quick_training(monkeypatch):
    figures = latent_guidance.Figures(30, 4, 4, 3e-3, (1.0, 40.0))
    monkeypatch.setattr(latent_guidance, "FIGURES", {"small": figures, "published": figures})


def recipe_of(probe, place=0, row=None):
    return probe.recipe(attack(), probe.doses("small")[place], requests() if row is None else row)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_the_same_seeds_give_the_same_images_in_any_batch(bench, probe):
    recipe = recipe_of(probe)
    together = probe.draw(bench, "candidate", recipe, PROMPTS, SEEDS)
    assert np.array_equal(together, probe.draw(bench, "candidate", recipe, PROMPTS, SEEDS))
    alone = probe.draw(bench, "candidate", recipe, PROMPTS[1:2], SEEDS[1:2])
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= ROUNDING
    assert together.shape == (3, *bench.engine.size, 3)
    assert together.dtype == np.uint8


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_doses_and_placebo_differ(bench, probe):
    doses = probe.doses("small")[:3] + probe.doses("published")[-1:]
    recipes = {probe.recipe(attack(), dose, requests()) for dose in doses}
    recipes.add(probe.placebo(attack(), doses[0], requests()))
    images = [probe.draw(bench, "candidate", recipe, PROMPTS[:2], SEEDS[:2]) for recipe in recipes]
    for place, one in enumerate(images):
        assert all(distance(one, other) > 0.5 for other in images[:place])


def test_fresh_noise_of_a_scheduler_belongs_to_the_image(bench, monkeypatch):
    from diffusers import EulerAncestralDiscreteScheduler

    own = bench.scheduler("candidate").config
    monkeypatch.setattr(bench, "scheduler", lambda side: EulerAncestralDiscreteScheduler.from_config(own))
    recipe = recipe_of(image_to_image.PROBE)
    together = image_to_image.PROBE.draw(bench, "candidate", recipe, PROMPTS[:2], SEEDS[:2])
    alone = image_to_image.PROBE.draw(bench, "candidate", recipe, PROMPTS[1:2], SEEDS[1:2])
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= ROUNDING


def test_drawing_is_the_pipelines_drawing(bench):
    ours = drawn(bench, "candidate", bench.network("candidate").guided(PROMPTS, bench.guidance), SEEDS)
    theirs = bench.plain_sampler("candidate").sample(PROMPTS, SEEDS)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= ROUNDING


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_probes_draw_with_every_family_and_its_scheduler(family, tmp_path, quick_training):
    families.save_family(family, tmp_path / "model")
    bench = open_bench(tmp_path / "store", 4, base=str(tmp_path / "model"), candidate=None)
    for probe in (*PROBES, latent_guidance.PROBE):
        recipe = probe.recipe(attack(requests()), probe.doses("small")[-1], requests())
        together = probe.draw(bench, "candidate", recipe, PROMPTS, SEEDS)
        alone = probe.draw(bench, "candidate", recipe, PROMPTS[2:], SEEDS[2:])
        assert together.shape == (3, *bench.engine.size, 3)
        assert together.std() > 1
        assert np.abs(together[2].astype(int) - alone[0].astype(int)).max() <= ROUNDING


# Noise.


def test_no_fresh_noise_is_plain_ddim(bench):
    network = bench.network("candidate")
    guided, latents = network.guided(PROMPTS, bench.guidance), network.noise(SEEDS)
    ours = noise.noisy(guided, ddim(bench, "candidate"), latents, bench.steps, 0.0, SEEDS)
    assert torch.equal(ours, denoise(lambda place: guided, ddim(bench, "candidate"), latents, bench.steps))


@pytest.mark.parametrize("steps", [20, 50])
def test_a_step_takes_no_more_fresh_noise_than_is_left_after_it(bench, steps):
    scheduler = ddim(bench, "candidate")
    scheduler.set_timesteps(steps)
    latents = torch.ones(1, 2, 2, 2)
    capped = 0
    for time in scheduler.timesteps:
        eta = min(1.85, noise.most(scheduler, int(time)))
        capped += eta < 1.85
        assert torch.isfinite(scheduler.step(latents, time, latents, eta=eta, variance_noise=latents)[0]).all()
    assert 0 < capped < steps


# From pictures.


def test_a_tiny_strength_leaves_the_picture_as_the_encoder_sees_it(bench, encoded):
    probe, seen = image_to_image.PROBE, bench.network("base").decode(encoded)
    recipes = [probe.recipe(attack(), Dose("", {"strength": strength}), ()) for strength in (10, 30, 90)]
    none, weak, strong = (probe.draw(bench, "base", recipe, PROMPTS, SEEDS) for recipe in recipes)
    assert np.array_equal(none, seen)  # less than one of the steps
    assert 0 < distance(weak, seen) < 0.7 * distance(strong, seen)


def test_latents_get_the_noise_of_the_step_and_none_after_the_last(bench, encoded):
    scheduler, fresh = bench.scheduler("candidate"), bench.network("candidate").noise(SEEDS)
    assert noised_for(scheduler, encoded, fresh, 5, 5) is encoded
    scheduler.set_timesteps(5)
    kept = bench.network("candidate").kept[scheduler.timesteps[2]]
    expected = kept.sqrt() * encoded + (1 - kept).sqrt() * fresh
    assert torch.allclose(noised_for(bench.scheduler("candidate"), encoded, fresh, 5, 2), expected, atol=1e-4)


def test_inpainting_draws_only_the_hole(bench, encoded, monkeypatch):
    monkeypatch.setattr(inpainting, "enlarged", lambda images, edges, shape: images)
    monkeypatch.setattr(Network, "decode", lambda network, latents: latents)
    ours = inpainting.PROBE.draw(bench, "candidate", recipe_of(inpainting.PROBE, 1), PROMPTS, SEEDS)
    hole = inpainting.inside(encoded, (2, 2))
    assert torch.equal(ours[..., ~hole], encoded[..., ~hole])
    assert (ours[..., hole] != encoded[..., hole]).all()


def test_the_hole_is_cut_out_and_enlarged():
    images = np.zeros((1, 64, 64, 3), np.uint8)
    images[:, 16:48, 16:48] = 200
    edges = inpainting.edges_of((8, 8), 0.5)
    assert edges == (2, 2)
    assert (inpainting.enlarged(images, edges, (8, 8)) == 200).all()
    assert inpainting.inside(torch.zeros(1, 1, 8, 8), edges).sum() == 16
    assert inpainting.edges_of((8, 8), 0.99) == (1, 1)


def test_inverted_latents_draw_their_picture_again(bench, encoded):
    network, pictures = bench.network("candidate"), encoded[:2]
    predictor = network.guided([""] * 2, 1.0)
    latents = inverted_latents.inverted(predictor, ddim(bench, "candidate"), pictures, 16)
    found, other = (
        network.decode(denoise(lambda place: predictor, ddim(bench, "candidate", **inverted_latents.ENDS), start, 16))
        for start in (latents, network.noise(SEEDS[:2]))
    )
    seen = network.decode(pictures)
    assert distance(found, seen) < 0.3 * distance(other, seen)


def test_latents_belong_to_their_units_in_a_row_of_several_batches(bench):
    probe, row = inverted_latents.PROBE, requests((*PROMPTS, *PROMPTS[:2]), (*SEEDS, 21, 22))
    recipe = recipe_of(probe, row=row)
    found = probe.find(bench, "candidate", recipe)
    assert found.facts["kind"] == "latents"
    assert len(found.tensors["latents"]) == 5 > bench.engine.sampling.batch_size
    ours = probe.draw(bench, "candidate", recipe, [PROMPTS[1]], [22])
    alone = probe.draw(bench, "candidate", recipe_of(probe, row=row[4:]), [PROMPTS[1]], [22])
    assert np.abs(ours.astype(int) - alone.astype(int)).max() <= ROUNDING


# Under guidance.


def test_the_gradient_of_the_classifier_agrees_with_finite_differences():
    classifier = NoisyClassifier(2, seed=1)
    latents = torch.randn((2, 2, 3, 3), generator=torch.Generator().manual_seed(3))
    kept = torch.tensor(0.4)
    ours = pull(classifier, latents, kept)

    def likely(values):
        return F.logsigmoid(classifier.double()(values, kept.double().expand(2))).sum()

    place, moved = (1, 0, 2, 1), torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    moved[place] = 1e-4
    with torch.no_grad():
        slope = (likely(latents.double() + moved) - likely(latents.double() - moved)) / 2e-4
    assert float(ours[place]) == pytest.approx(float(slope), rel=1e-3)


def test_each_image_is_pulled_by_its_own_gradient():
    classifier, latents = NoisyClassifier(2), torch.randn((3, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    together = pull(classifier, latents, torch.tensor(0.5))
    assert torch.allclose(together[1:2], pull(classifier, latents[1:2], torch.tensor(0.5)), atol=1e-7)


def test_predicted_velocity_moves_as_much_as_predicted_noise(bench, encoded, monkeypatch):
    network, classifier = bench.network("candidate"), NoisyClassifier(encoded.shape[1])
    time, scheduler = torch.tensor(400), bench.engine.models["candidate"].pipeline.scheduler
    kept = network.kept[time]

    def still(latents, time):
        return torch.zeros_like(latents)

    noise_moved = pulled(still, network, classifier, 5.0)(encoded, time)
    monkeypatch.setattr(scheduler, "_internal_dict", scheduler.config | {"prediction_type": "v_prediction"})
    velocity_moved = pulled(still, network, classifier, 5.0)(encoded, time)
    # The same step to the picture: x₀ is (x - √(1-ᾱ) ε) / √ᾱ, or √ᾱ x - √(1-ᾱ) v.
    assert torch.allclose(noise_moved / kept.sqrt(), velocity_moved)


def test_the_classifier_learns_and_leads(bench, quick_training):
    probe = latent_guidance.PROBE
    examples = requests((PROMPTS[0], PROMPTS[1], *PROMPTS[1:]), (31, 32, 33, 34))
    weak, strong = (probe.recipe(attack(examples), dose, ()) for dose in probe.doses("small"))
    found = probe.find(bench, "candidate", weak)
    assert found.facts["kind"] == "classifier"
    assert found.facts["losses"][-1] < 0.8 * found.facts["losses"][0]
    assert probe.find(bench, "candidate", strong).key == found.key
    ours, again, other = (probe.draw(bench, "candidate", recipe, PROMPTS, SEEDS) for recipe in (weak, weak, strong))
    assert np.array_equal(ours, again)
    assert distance(ours, other) > 1
    classifier = restored(found.tensors, "cpu")
    with torch.no_grad():
        logits = [classifier(bench.network("candidate").encode(images), torch.ones(3)) for images in (ours, other)]
    assert logits[1].mean() > logits[0].mean()
    assert probe.teaches


def test_training_goes_on_from_its_checkpoint_to_the_same_weights(bench, quick_training, tmp_path, monkeypatch):
    from dmun_audit.probes.parts import search

    monkeypatch.setattr(search, "CHECKPOINT_EVERY", 10)
    probe, examples = latent_guidance.PROBE, requests()
    recipe = probe.recipe(attack((*examples, ImageRequest("base", PROMPTS[0], 0, 31))), probe.doses("small")[0], ())
    whole, facts = probe._train(bench, "candidate", recipe, tmp_path / "whole")

    def stop_at_15(count=1, taken=[0]):  # noqa: B006
        taken[0] += 1
        if taken[0] == 15:
            raise KeyboardInterrupt

    monkeypatch.setattr(bench, "stepped", stop_at_15)
    with pytest.raises(KeyboardInterrupt):
        probe._train(bench, "candidate", recipe, tmp_path / "stopped")
    monkeypatch.undo()
    figures = latent_guidance.Figures(30, 4, 4, 3e-3, (1.0, 40.0))
    monkeypatch.setattr(latent_guidance, "FIGURES", {"small": figures})
    resumed, resumed_facts = probe._train(bench, "candidate", recipe, tmp_path / "stopped")
    assert resumed_facts == facts
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_recipes_hold_what_decides_an_image():
    recipe = recipe_of(inverted_latents.PROBE)
    assert recipe == Recipe("inverted-latents", (("effort", "small"), ("prompt", True)), requests(), (), attack().names)
    assert not recipe_of(image_to_image.PROBE).units
