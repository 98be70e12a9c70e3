"""Attacks that search words: their parts against oracles, their searches, and what they draw."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import save_edited, save_family
from token_bench import ATTACK, UNITS, token_bench

from dmun_audit.models.loading import load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.probes.parts import search, token_attack, tokens
from dmun_audit.probes.parts.genetic import Figures, evolve
from dmun_audit.probes.parts.network import Network
from dmun_audit.probes.parts.token_attack import conditions_with, errors, marked, noise_of, on_simplex, passed_through
from dmun_audit.probes.parts.tokens import embeddings, placeholder
from dmun_audit.probes.probe import Dose
from dmun_audit.probes.registry import probe_named
from dmun_audit.probes.ring_a_bell import nameless

PROMPTS, SEEDS = [unit.prompt for unit in UNITS], [unit.seed for unit in UNITS]
STEPS = {"unlearn-diff-attack": {"steps": 12}, "p4d": {"steps": 12}, "ring-a-bell": {"generations": 1}}
NAMES = sorted(STEPS)


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    return token_bench(tmp_path_factory.mktemp("token-probes"))


@pytest.fixture(scope="session")
def sdxl_bench(tmp_path_factory):
    """A tiny SDXL with random weights."""
    folder = tmp_path_factory.mktemp("sdxl")
    base = save_family("sdxl", folder / "base")
    return token_bench(folder / "store", str(base), str(save_edited("sdxl", base, folder / "edited")))


def recipe_of(name, dose=0, **settings):
    """The recipe of a probe's small dose with fewer steps, and with other settings."""
    probe = probe_named(name)
    chosen = probe.doses("small")[dose]
    return probe.recipe(ATTACK, Dose(chosen.label, dict(chosen.settings) | STEPS[name] | settings), UNITS)


def ids_of(bench, name, *more, side="candidate", **settings):
    return probe_named(name).find(bench, side, recipe_of(name, *more, **settings)).tensors["ids"]


# Parts.


def projected_by_bisection(vector):
    low, high = vector.min() - 1, vector.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(vector - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(vector - low, 0)


@pytest.mark.parametrize(("spread", "size"), [(0.01, 5), (1.0, 40), (50.0, 300), (1.0, 1)])
def test_the_projection_on_the_simplex_is_the_one_that_bisection_finds(spread, size):
    vectors = spread * torch.randn(3, 4, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.apply_along_axis(projected_by_bisection, -1, vectors.numpy())
    assert np.allclose(on_simplex(vectors).numpy(), expected, atol=1e-12)


def test_a_distribution_stays_where_it_is_on_the_simplex():
    shares = torch.rand(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shares = shares / shares.sum(dim=-1, keepdim=True)
    assert torch.allclose(on_simplex(shares), shares, atol=1e-12)
    assert torch.equal(on_simplex(torch.eye(4)), torch.eye(4))


def test_a_value_is_passed_through_exactly_and_gradients_go_to_the_variable():
    value, variable = torch.randn(5), torch.randn(5, requires_grad=True)
    passed = passed_through(value, variable)
    assert torch.equal(passed, value)
    (gradient,) = torch.autograd.grad((passed**2).sum(), variable)
    assert torch.allclose(gradient, 2 * value)


@pytest.fixture(scope="module")
def precise():
    """The networks of the atelier's base in float64."""
    model = load_pipeline(parse_reference("atelier:base"))
    for name in ("unet", "vae", "text_encoder"):
        getattr(model.pipeline, name).double()
    return Network(model, "cpu", (64, 64))


def test_the_gradient_of_the_error_by_injected_vectors_agrees_with_finite_differences(precise):
    place = placeholder(precise, PROMPTS)
    texts = marked(precise, place, [f"{place.word} {place.word} {prompt}" for prompt in PROMPTS])
    clean, noise, times = precise.noise([1, 2]), precise.noise([3, 4]), torch.tensor([200, 600])
    (matrix,) = embeddings(precise)
    ids = torch.tensor([10, 20, 30, 40])

    def loss(vectors):
        states = conditions_with(precise, texts, [vectors])
        return (precise.predict(precise.noised(clean, noise, times), times, states) - noise).square().sum()

    vectors = matrix[ids].double().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(vectors), vectors)
    generator = torch.Generator().manual_seed(5)
    for _ in range(4):
        direction = torch.randn(vectors.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            slope = (loss(vectors + 1e-5 * direction) - loss(vectors - 1e-5 * direction)) / 2e-5
        assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


def test_tokens_that_the_text_encoder_does_not_see_are_not_counted(bench):
    network = bench.network("candidate")
    place = placeholder(network, PROMPTS)
    most = network.tokenizers()[0][0].model_max_length - 2
    texts = marked(network, place, [" ".join([place.word] * 3), " ".join([place.word] * 200)])
    assert texts.counts == (3, most)
    assert texts.is_token("cpu").sum(dim=1).tolist() == [3, most]
    assert (
        conditions_with(network, texts, [torch.zeros(3 + most, matrix.shape[1]) for matrix in embeddings(network)])
        .states.isfinite()
        .all()
    )


def test_found_ids_stand_in_the_places_of_the_tokens(bench):
    """A prompt with placeholders and the embeddings of its words is encoded as the prompt itself."""
    network = bench.network("candidate")
    place = placeholder(network, ["a boat by the sea"])
    tokenizer = network.tokenizers()[0][0]
    ids = torch.tensor(tokenizer("boat sea").input_ids[1:-1])
    texts = marked(network, place, [f"a {place.word} by the {place.word}"])
    with torch.no_grad():
        found = conditions_with(network, texts, [matrix[ids] for matrix in embeddings(network)])
        plain = network.conditions(["a boat by the sea"])
    assert torch.equal(found.states, plain.states)
    assert token_attack.readable(network, texts, ids[None]) == ["a boat by the sea"]


def test_one_word_stands_behind_every_third_word():
    probe, recipe = probe_named("p4d"), recipe_of("p4d", 1)
    assert probe.written(recipe, "a boat by Van Gogh", "x") == "a boat by x Van Gogh"
    assert probe.written(recipe, "a house by the sea here", "x") == "a house by x the sea here x"
    assert probe.written(recipe, "sunflowers", "x") == "sunflowers x"


def test_a_prompt_without_the_name_stays_as_it_is():
    assert nameless("a boat by Vincent van Gogh", ATTACK.names) == "a boat by something"
    assert nameless("swirling strokes", ATTACK.names) == "swirling strokes"


# Searches.


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_find(bench, name, tmp_path):
    found = ids_of(bench, name)
    again, _ = probe_named(name).search(bench, "candidate", recipe_of(name), tmp_path / "checkpoint")
    assert torch.equal(found, again["ids"])
    other = tuple(replace(unit, seed=unit.seed + 1) for unit in UNITS)
    elsewhere, _ = probe_named(name).search(bench, "candidate", replace(recipe_of(name), units=other), tmp_path / "other")
    assert not torch.equal(found, elsewhere["ids"])


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_searched_as_if_it_were_alone(bench, name, tmp_path):
    recipe = replace(recipe_of(name, **({"steps": 3} if name != "ring-a-bell" else {})), units=UNITS[1:], names=("Van Gogh",))
    together = replace(recipe, units=UNITS)
    if name == "ring-a-bell":  # the concept is the mean over the prompts of a row
        together = replace(recipe, units=(replace(UNITS[1], seed=5), UNITS[1]))
    alone, _ = probe_named(name).search(bench, "candidate", recipe, tmp_path / "alone")
    row, _ = probe_named(name).search(bench, "candidate", together, tmp_path / "row")
    width = alone["ids"].shape[1]
    assert torch.equal(alone["ids"][0], row["ids"][1][:width])


class Killed(Exception):
    """Stops a search in its middle."""


@pytest.mark.parametrize("name", ["p4d", "unlearn-diff-attack"])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(bench, name, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "CHECKPOINT_EVERY", 5)
    probe, recipe, steps = probe_named(name), recipe_of(name), []

    def stop(count=1):
        steps.append(count)
        if len(steps) == 8:
            raise Killed

    monkeypatch.setattr(bench, "stepped", stop)
    with pytest.raises(Killed):
        probe.search(bench, "candidate", recipe, tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").exists()
    resumed, _ = probe.search(bench, "candidate", recipe, tmp_path / "checkpoint")
    assert len(steps) == 8 + 12 - 5
    assert torch.equal(resumed["ids"], ids_of(bench, name))


def fixed_errors(bench, name, recipe, ids):
    """The errors that a gradient attack minimises, on noise that the search has not seen: (units,)."""
    network, base = bench.network("candidate"), bench.network("base")
    texts = probe_named(name).marked(network, recipe, PROMPTS)
    clean = token_attack.base_latents(bench, network, UNITS)
    total = torch.zeros(len(UNITS))
    with torch.no_grad():
        conditions = conditions_with(network, texts, [matrix[ids[ids >= 0]] for matrix in embeddings(network)])
        wanted = base.conditions(PROMPTS)
        for time in (300, 500, 700) if name == "p4d" else (recipe.setting("time"),):
            for draw in range(3):
                times, noise = torch.full((len(UNITS),), time), noise_of(network, UNITS, "unseen", time, draw)
                noisy = network.noised(clean, noise, times)
                goal = base.predict(noisy, times, wanted) if name == "p4d" else network.goal(clean, noise, times)
                total += errors(network.predict(noisy, times, conditions), goal)
    return total


@pytest.mark.parametrize("name", ["p4d", "unlearn-diff-attack"])
def test_found_tokens_have_a_smaller_error_than_random_ones_have_on_average(bench, name):
    recipe = recipe_of(name, 1 if name == "unlearn-diff-attack" else 0)
    found = fixed_errors(bench, name, recipe, probe_named(name).find(bench, "candidate", recipe).tensors["ids"])
    texts = probe_named(name).marked(bench.network("candidate"), recipe, PROMPTS)
    randoms = [
        fixed_errors(bench, name, recipe, token_attack.random_ids(bench.network("candidate"), texts.counts, [seed, seed + 50]))
        for seed in range(4)
    ]
    assert found.sum() < torch.stack(randoms).mean(dim=0).sum()


def test_a_noise_level_goes_on_from_the_level_before(bench):
    probe = probe_named("unlearn-diff-attack")
    start = ids_of(bench, probe.name, steps=0)
    assert torch.equal(ids_of(bench, probe.name, 1, steps=0), start)
    assert not torch.equal(ids_of(bench, probe.name), start)
    assert not torch.equal(ids_of(bench, probe.name, 1), ids_of(bench, probe.name))


def test_ring_a_bell_searches_once_for_all_models(bench):
    probe, recipe = probe_named("ring-a-bell"), recipe_of("ring-a-bell")
    assert len({probe.find(bench, side, recipe).key for side in ("base", "candidate", "control model")}) == 1
    attack, recipe = probe_named("p4d"), recipe_of("p4d", steps=0)
    assert len({attack.find(bench, side, recipe).key for side in ("base", "candidate")}) == 2


@pytest.mark.parametrize("name", NAMES)
def test_both_text_encoders_of_sdxl_get_the_same_words(sdxl_bench, name, monkeypatch):
    recipe = recipe_of(name, **({"generations": 1} if name == "ring-a-bell" else {"steps": 2}))
    ids = probe_named(name).find(sdxl_bench, "candidate", recipe).tensors["ids"]
    injections, real = [], tokens.injected
    monkeypatch.setattr(tokens, "injected", lambda *given: injections.append(given[2]) or real(*given))
    assert probe_named(name).draw(sdxl_bench, "candidate", recipe, PROMPTS, SEEDS).shape[0] == 2
    matrices = embeddings(sdxl_bench.network("candidate"))
    assert len(matrices) == len(injections[0]) == 2
    for vectors, matrix in zip(injections[0], matrices, strict=True):
        assert torch.equal(vectors, matrix[ids[ids >= 0]])


# The genetic search.

GOALS = torch.tensor([[3.0, 50.0, 20.0, 7.0], [90.0, 90.0, 11.0, 2.0]])
SMALL = Figures(generations=60, population=40, mutation=0.5, crossover=0.5)


def far_from(ids, goal):
    return (ids.float() - goal).square().mean(dim=1)


def test_the_genetic_search_never_gets_worse_and_finds_the_goal(tmp_path):
    allowed = torch.arange(2, 95)
    ids, best = evolve(allowed, 4, GOALS, far_from, [1, 2], SMALL, tmp_path / "checkpoint")
    assert len(best) == 61
    assert all(later <= earlier for earlier, later in itertools.pairwise(best))
    assert best[-1] < best[0] / 10
    assert best[-1] == pytest.approx(float(torch.stack([far_from(ids[i : i + 1], GOALS[i])[0] for i in range(2)]).mean()))
    assert set(ids.flatten().tolist()) <= set(allowed.tolist())


def test_a_genetic_search_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    allowed, calls = torch.arange(2, 95), []

    def stopping(ids, goal):
        calls.append(len(ids))
        if len(calls) == 2 + 2 * 30:
            raise Killed
        return far_from(ids, goal)

    with pytest.raises(Killed):
        evolve(allowed, 4, GOALS, stopping, [1, 2], SMALL, tmp_path / "checkpoint")
    calls.clear()
    ids, best = evolve(
        allowed, 4, GOALS, lambda *each: calls.append(1) or far_from(*each), [1, 2], SMALL, tmp_path / "checkpoint"
    )
    assert len(calls) == 2 * (60 - 25)
    expected, history = evolve(allowed, 4, GOALS, far_from, [1, 2], SMALL, tmp_path / "none")
    assert torch.equal(ids, expected)
    assert best == history


# What is drawn.


@pytest.mark.parametrize("name", NAMES)
def test_no_token_is_special(bench, name):
    special = set(bench.network("candidate").tokenizers()[0][0].all_special_ids)
    assert not special & set(ids_of(bench, name).flatten().tolist())
    allowed = token_attack.allowed_ids(bench.network("candidate")).tolist()
    assert not special & set(allowed)
    assert len(allowed) + len(special) == len(bench.network("candidate").tokenizers()[0][0])


def random_tokens(bench, name, dose, monkeypatch):
    """The random tokens of a dose without a control model, and its picture."""
    probe, drawn, real = probe_named(name), [], token_attack.random_ids
    placebo = probe.placebo(ATTACK, probe.doses("small")[dose], UNITS)
    assert probe.find(bench, "candidate", placebo) is None
    monkeypatch.setattr(token_attack, "random_ids", lambda *given: drawn.append(real(*given)) or drawn[-1])
    picture = probe.draw(bench, "candidate", placebo, PROMPTS, SEEDS)
    monkeypatch.undo()
    return drawn[0], picture


@pytest.mark.parametrize("name", ["p4d", "unlearn-diff-attack"])
def test_random_tokens_differ_by_dose_and_unit_and_are_as_many(bench, name, monkeypatch):
    (one, picture), (other, _) = (random_tokens(bench, name, dose, monkeypatch) for dose in (0, 1))
    assert one.tolist() != other.tolist()
    assert one[0].tolist() != one[1].tolist()
    assert torch.equal(one, random_tokens(bench, name, 0, monkeypatch)[0])
    assert one.shape == ids_of(bench, name).shape
    assert picture.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_belongs_to_its_unit_whatever_the_order(bench, name):
    probe, recipe = probe_named(name), recipe_of(name)
    forwards = probe.draw(bench, "candidate", recipe, PROMPTS, SEEDS).astype(int)
    backwards = probe.draw(bench, "candidate", recipe, PROMPTS[::-1], SEEDS[::-1]).astype(int)
    assert abs(forwards - backwards[::-1]).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_find_names_its_tokens(bench, name):
    record = bench.find_record(probe_named(name), "candidate", recipe_of(name), "dose")
    assert record.kind == "tokens"
    assert len(record.words) == len(UNITS)
    assert all(word.isprintable() for word in record.words)
    assert record.losses


def test_ring_a_bell_gets_nearer_to_the_concept(bench):
    losses = probe_named("ring-a-bell").find(bench, "candidate", recipe_of("ring-a-bell")).facts["losses"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
