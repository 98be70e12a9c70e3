"""Every eraser on a few steps: its published format loads with a proof, it changes what it should, and its seed repeats it."""

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file, safe_open

from dmun_audit._util.errors import UsageError
from dmun_audit.atelier import erased_models, erasers
from dmun_audit.atelier.build import Lengths, write_index
from dmun_audit.atelier.erasers import prefixes, receler, states
from dmun_audit.atelier.erasers.attention import recorded
from dmun_audit.atelier.sampling import open_pipeline
from dmun_audit.models import references
from dmun_audit.models.fingerprint import modules
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.inspection import inspect_quickly
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference

WEIGHTS = references.WEIGHTS_FOLDER
TRAINED = {
    "ca-van-gogh": ("unet", ("attn2.to_k.weight", "attn2.to_v.weight")),
    "salun-van-gogh": ("unet", (".attn2.",)),
    "fmn-van-gogh": ("unet", (".attn2.",)),
    "mace-van-gogh": ("unet", ("attn2.to_k.weight", "attn2.to_v.weight")),
    "rece-van-gogh": ("unet", ("attn2.to_k.weight", "attn2.to_v.weight")),
    "advunlearn-van-gogh": ("text_encoder", ("",)),
    "spm-van-gogh": ("", ()),
    "receler-van-gogh": ("", ()),
}
FORMATS = {
    "ca-van-gogh": "partial unet (state dict, diffusers names)",
    "salun-van-gogh": "partial unet (state dict, diffusers names)",
    "fmn-van-gogh": "full unet (safetensors, diffusers names)",
    "mace-van-gogh": "partial unet (safetensors, diffusers names)",
    "rece-van-gogh": "partial unet (state dict, diffusers names)",
    "advunlearn-van-gogh": "full text encoder (state dict, diffusers names)",
    "spm-van-gogh": "SPM (",
    "receler-van-gogh": "Receler (7 erasers of rank 16)",
}
WITHOUT_TRAINING = {"rece-van-gogh"}
STEPS = 3


@pytest.fixture(scope="module")
def base():
    return load_pipeline(parse_reference("atelier:base"))


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(WEIGHTS / "base")


@pytest.fixture(scope="module")
def pictures(pipeline):
    """What every method trains on, with few pictures."""
    prompts = {
        "forgotten": ["a cat by Vincent van Gogh", "a house by Van Gogh"],
        "kept": ["a cat by Monet", "a boat by Georges Seurat"],
        "anchors": ["a cat", "a boat"],
    }
    return {name: erasers.draw_pictures(pipeline, texts, seed=1) for name, texts in prompts.items()}


def _workshop(folder, pictures, seed=0):
    lengths = Lengths(**dict.fromkeys(Lengths.__dataclass_fields__, STEPS))
    shop = erased_models.Workshop(WEIGHTS / "base", folder / "work", lengths, seed, lambda line: None)
    shop.__dict__.update(pictures)
    return shop


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """One batch of gradients for SalUn's mask, and losses of the second step before and after every training."""
    monkeypatch.setattr(erasers.saliency_mask, "__kwdefaults__", {"batches": 1})
    found = []

    def recording(train):
        def wrapped(name, network, loss_of, *, rate, **further):
            first = loss_of(1).item()  # of a step without adversarial words
            result = train(name, network, loss_of, rate=20 * rate, **further)  # the warm-up makes the first rates small
            found.append((first, loss_of(1).item()))
            return result

        return wrapped

    for method in ("ca", "salun", "fmn", "spm", "mace", "advunlearn", "receler"):
        module = inspect.getmodule(
            next(part for part in vars(erasers).values() if getattr(part, "__module__", "").endswith(method))
        )
        monkeypatch.setattr(module, "train", recording(module.train))
    return found


def _made(name, folder, pictures, seed=0):
    file, make = erased_models.MAKERS[name]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    make(_workshop(folder, pictures, seed), path)
    return path


def _tensors(path):
    if path.is_dir():
        return _tensors(next(file for file in sorted(path.iterdir()) if file.suffix in {".pt", ".safetensors"}))
    if path.suffix == ".safetensors":
        return load_file(path)
    waiting, found = [("", torch.load(path))], {}
    while waiting:
        prefix, table = waiting.pop()
        for name, value in table.items():
            if isinstance(value, torch.Tensor):
                found[prefix + name] = value
            else:
                waiting.append((f"{prefix}{name}.", value))
    return found


@pytest.mark.parametrize("name", erased_models.MAKERS)
def test_an_eraser_changes_what_it_should_in_its_published_format(name, base, pictures, tmp_path, short):
    path = _made(name, tmp_path, pictures)
    assert all(after < before for before, after in short)
    assert bool(short) == (name not in WITHOUT_TRAINING)
    candidate = load_candidate(parse_reference(str(path)), base)
    assert candidate.proof["format"].startswith(FORMATS[name])
    component, chosen = TRAINED[name]
    for part, network in modules(candidate.pipeline).items():
        before = modules(base.pipeline)[part].state_dict()
        for key, value in network.state_dict().items():
            if part != component or not any(kind in key for kind in chosen):
                assert torch.equal(value, before[key]), key
    first = _tensors(path)
    again = _tensors(_made(name, tmp_path / "again", pictures))
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_another_seed_gives_another_model(pictures, tmp_path):
    one, other = (_tensors(_made("ca-van-gogh", tmp_path / str(seed), pictures, seed)) for seed in (0, 1))
    assert any(not torch.equal(value, other[key]) for key, value in one.items())


# The parts of the methods.


def test_pictures_go_from_noise_to_the_finished_latent(pipeline, pictures):
    drawn = pictures["forgotten"]
    assert drawn.noisy.shape == (2, 20, 32, 8, 8)
    assert drawn.finished.shape == (2, 32, 8, 8)
    assert drawn.times[0] > drawn.times[-1]
    again = erasers.draw_pictures(pipeline, drawn.prompts, seed=1)
    assert torch.equal(again.finished, drawn.finished)
    assert drawn.part([1]).prompts == drawn.prompts[1:]


def test_noise_grows_with_the_time_step(pictures):
    drawn, generator = pictures["forgotten"], torch.Generator().manual_seed(0)
    late = torch.zeros(1000).index_fill(0, torch.tensor([999]), 1.0)
    noisy, time, noise = drawn.noised(torch.tensor([0]), generator, late)
    assert time.tolist() == [999]
    assert torch.cosine_similarity(noisy.flatten(), noise.flatten(), dim=0) > 0.99


def test_a_name_is_found_as_whole_tokens_and_with_the_padding_behind_it(pipeline):
    text = "a house by Van Gogh"
    named = states.where_named(pipeline, [text], ["Van Gogh"], padding=False)[0]
    assert named.nonzero().flatten().tolist() == [4, 5]
    padded = states.where_named(pipeline, [text], ["Van Gogh"], padding=True)[0]
    assert padded.nonzero().flatten().tolist() == list(range(4, len(padded)))
    with pytest.raises(ValueError, match="none of the names"):
        states.where_named(pipeline, ["a house"], ["Van Gogh"], padding=False)


def test_recorded_maps_leave_the_unet_as_it_was(pipeline, pictures):
    drawn = pictures["forgotten"]
    inputs = drawn.finished, 10, drawn.states
    with torch.no_grad():
        before = pipeline.unet(*inputs).sample
        with recorded(pipeline.unet) as maps:
            inside = pipeline.unet(*inputs).sample
        after = pipeline.unet(*inputs).sample
    assert torch.allclose(before, inside, atol=1e-4)
    assert torch.equal(before, after)
    assert len(maps) == 7
    for shares in maps.values():
        assert torch.allclose(shares.sum(dim=-1), torch.ones(()), atol=1e-5)


def test_a_prefix_stands_behind_the_begin_token(pipeline):
    tokens = states.tokens_of(pipeline, ["a cat"])
    words = pipeline.text_encoder.get_input_embeddings().weight
    told = states.tokens_of(pipeline, ["red a cat"])
    prefix = words[told[:, 1:2]].detach()
    with torch.no_grad():
        ours = prefixes.prefixed_states(pipeline.text_encoder, tokens, prefix)
        assert torch.allclose(ours, pipeline.text_encoder(told).last_hidden_state, atol=1e-5)
        nothing = prefixes.prefixed_states(pipeline.text_encoder, tokens, prefix[:, :0])
        assert torch.equal(nothing, pipeline.text_encoder(tokens).last_hidden_state)


def test_salun_moves_no_weight_outside_its_mask(pipeline, pictures, tmp_path):
    names = [name for name, _ in pipeline.unet.named_parameters() if name.endswith("attn2.to_v.weight")]
    mask = erasers.saliency_mask(pipeline, pictures["forgotten"], names, share=0.25, seed=0)
    assert sum(part.sum() for part in mask.values()) / sum(part.numel() for part in mask.values()) == pytest.approx(
        0.25, abs=1e-3
    )
    before = {name: value.detach().clone() for name, value in pipeline.unet.named_parameters() if name in mask}
    settings = {"steps": 2, "rate": 1e-2, "seed": 0, "progress": lambda line: None}
    labels = list(pictures["kept"].prompts)
    after = erasers.saliency_unlearning(
        pipeline, pictures["forgotten"], labels, pictures["kept"], mask, tmp_path / "salun.pt", **settings
    )
    for name, value in after.items():
        moved = value.float() != before[name]
        assert moved.any()
        assert not (moved & (mask[name] == 0)).any()
    with pytest.raises(ValueError, match="1 labels for 2 pictures"):
        erasers.saliency_unlearning(
            pipeline, pictures["forgotten"], labels[:1], pictures["kept"], mask, tmp_path / "salun.pt", **settings
        )


def test_concept_ablation_wants_one_target_for_each_anchor(pipeline, pictures, tmp_path):
    with pytest.raises(ValueError, match="1 targets for 2 anchors"):
        erasers.concept_ablation(
            pipeline, pictures["anchors"], ["a cat by Van Gogh"], tmp_path / "ca.pt", steps=1, rate=1, seed=0, progress=print
        )


def test_rece_without_rounds_is_uce(pipeline):
    arguments = (pipeline, ["Van Gogh"], "a picture", ["Claude Monet"])
    ours, theirs = erasers.reliable_concept_erasure(*arguments, rounds=0), erasers.unified_concept_editing(*arguments)
    assert all(torch.allclose(value, theirs[name], atol=1e-5) for name, value in ours.items())


def test_a_round_of_rece_closes_the_way_back_that_uce_leaves(pipeline):
    """The state that brings Van Gogh back through UCE's weights gives another output after one more round."""
    arguments = (pipeline, ["Van Gogh"], "a picture", ["Claude Monet"])
    first = erasers.concept_states(pipeline, ["Van Gogh"])[0][0]
    guide = erasers.concept_states(pipeline, ["a picture"])[0][0]
    before = dict(states.keys_and_values(pipeline))
    distances = []
    uce = erasers.reliable_concept_erasure(*arguments, rounds=0)
    stacked, wanted = torch.cat(list(uce.values())), torch.cat([before[name] @ first for name in uce])
    back = torch.linalg.solve(0.1 * torch.eye(128) + stacked.T @ stacked, stacked.T @ wanted)
    for weights in (uce, erasers.reliable_concept_erasure(*arguments, rounds=1)):
        goal = torch.cat([before[name] @ guide for name in weights])
        distances.append((torch.cat(list(weights.values())) @ back - goal).norm().item())
    assert distances[1] < 0.5 * distances[0]


def test_refinement_makes_the_words_around_a_name_like_those_around_the_guide(pipeline):
    weights = erasers.refined(pipeline, ["a cat by {name}"], ["Van Gogh"], "a picture", ["Claude Monet"])
    name, edited = next(iter(weights.items()))
    before = dict(pipeline.unet.named_parameters())[name].detach().double()
    named, plain = (states.all_states(pipeline, [f"a cat by {text}"])[0, 6:].double() for text in ("Van Gogh", "a picture"))
    goal = plain @ before.T
    assert (named @ edited.T - goal).norm() < 0.3 * (named @ before.T - goal).norm()


def test_fusion_without_changes_gives_the_refined_weights(pipeline):
    weights = {name: value.detach().double() for name, value in states.keys_and_values(pipeline)}
    found = erasers.fused(pipeline, weights, [{}], ["Van Gogh"], ["a cat by {name}"], ["a cat by Monet", "Munch", "a boat"])
    states_of = states.all_states(pipeline, ["a cat by Van Gogh"])[0]
    for name, value in weights.items():
        assert torch.allclose(states_of @ found[name].float().T, states_of @ value.float().T, atol=0.3)


def test_masks_are_where_the_attention_to_the_name_is():
    shares = torch.zeros(1, 2, 16, 3)
    shares[:, :, 5, 1] = 0.9
    masks = receler.concept_masks({"layer": shares}, torch.tensor([[False, True, False]]), 0.5)
    assert masks[16].flatten().nonzero().flatten().tolist() == [5]


# What ships.


def test_every_erased_model_is_in_the_index_and_the_index_is_what_a_build_writes(tmp_path):
    write_index(tmp_path)
    shipped = json.loads((WEIGHTS / "index.json").read_text())
    assert json.loads((tmp_path / "index.json").read_text()) == shipped
    for name, (path, _) in erased_models.MAKERS.items():
        assert shipped["models"][name] == {"path": path, "target": "Van Gogh", "base": "base"}
        assert (WEIGHTS / path).exists()


@pytest.mark.parametrize("name", erased_models.MAKERS)
def test_a_shipped_model_loads_with_its_proof(name, base):
    candidate = load_candidate(parse_reference(f"atelier:{name}"), base)
    assert candidate.proof["format"].startswith(FORMATS[name])
    assert candidate.weights_digest != base.weights_digest
    assert (candidate.set_prompts is not None) == (name == "spm-van-gogh")


@pytest.mark.parametrize("name", erased_models.MAKERS)
def test_a_shipped_model_passes_the_early_check_and_is_inspected_by_its_headers(name):
    reference, below = parse_reference(f"atelier:{name}"), parse_reference("atelier:base")
    cheap_check(reference, below)
    assert inspect_quickly(reference, None).format.startswith(FORMATS[name])


@pytest.mark.parametrize("name", ["spm-van-gogh", "receler-van-gogh"])
def test_an_adapter_that_works_while_images_are_made_is_refused_as_a_base(name):
    with pytest.raises(UsageError, match=f"atelier:{name} cannot be a base"):
        load_pipeline(parse_reference(f"atelier:{name}"))


def test_shipped_salun_and_fmn_hold_the_bases_numbers_where_they_did_not_train(base):
    before = base.pipeline.unet.state_dict()
    salun = torch.load(WEIGHTS / "salun-van-gogh.pt")
    equal = sum(int((value.float() == before[name]).sum()) for name, value in salun.items())
    assert 0.5 <= equal / sum(value.numel() for value in salun.values()) < 0.6
    unet = load_file(WEIGHTS / "fmn-van-gogh/unet/diffusion_pytorch_model.safetensors")
    assert unet.keys() == before.keys()
    assert all(torch.equal(value.float(), before[name]) for name, value in unet.items() if ".attn2." not in name)


def test_shipped_spm_says_what_it_erases():
    with safe_open(WEIGHTS / "spm-van-gogh.safetensors", "pt") as file:
        assert file.metadata() == {"prompts": "Van Gogh", "rank": "1", "alpha": "1.0"}


def test_the_card_holds_the_figures_of_every_erased_model():
    erased = json.loads((WEIGHTS / "card.json").read_text())["erased"]
    wanted = {"by_name", "by_description", "monet", "seurat", "sunflowers"}
    for name in erased_models.MAKERS:
        assert erased[name].keys() == wanted
        assert erased[name]["by_name"] < 0.2 < erased["base"]["by_name"]
