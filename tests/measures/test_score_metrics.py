"""Metrics that score images or pairs, on small networks: each value once more by the classes of the literature's own code."""

import importlib.util
import json

import networks_of_metrics
import numpy as np
import pytest
import small_networks
from PIL import Image

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.measures.metric_kind import ReferencedMetric, paired_values
from dmun_audit.measures.references import digest_of_sources, metric_kinds, open_metrics, parse_metric
from dmun_audit.measures.registry import measured
from dmun_audit.models.references import atelier_judge

CLIP = f"local-dir:{atelier_judge()}"
PROMPTS = ["a house in the style of Van Gogh", "a tree", "a cat and " + "a dog and " * 60 + "a horse"]
PARTS = ("base", "candidate", "difference", "standard_error", "images", "prompts")
HAS_DREAMSIM = importlib.util.find_spec("dreamsim") is not None


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def clip(root):
    return networks_of_metrics.save_clip(root / "clip")


@pytest.fixture(scope="module")
def llava(root):
    return networks_of_metrics.save_llava(root / "llava")


@pytest.fixture(scope="module")
def pairs():
    """Three pairs of images. The candidate's are darker."""
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 40, 3), dtype=np.uint8)
    return list(images[0]), list(images[1] // 2)


def opened(text):
    (metric,) = open_metrics([text], JudgeLoader("cpu"))
    assert isinstance(metric, ReferencedMetric)
    assert len(metric.digest) == 64
    return metric


def values_of(text, pairs):
    """What the audit would record: values under the metric's name, all finite."""
    return measured([opened(text)], *pairs, PROMPTS)


def test_pickscore_is_the_scaled_cosine_of_image_and_prompt(clip, pairs):
    import torch
    from transformers import CLIPModel, CLIPProcessor

    values = values_of(f"pickscore:{clip}", pairs)
    model, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    expected = []
    for image, prompt in zip(pairs[1], PROMPTS, strict=True):
        inputs = processor(images=Image.fromarray(image), text=prompt, return_tensors="pt", truncation=True, max_length=77)
        with torch.inference_mode():
            expected.append(float(model(**inputs).logits_per_image))
    assert set(values) == {f"pickscore.{part}" for part in PARTS}
    assert values["pickscore.candidate"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert values["pickscore.candidate"] != pytest.approx(values["pickscore.base"], rel=1e-4)


def test_hps_is_the_cosine_of_image_and_prompt(pairs):
    values = values_of(f"hps:{CLIP}", pairs)
    judge = JudgeLoader("cpu").clip_model(CLIP)
    cosines = [np.diag(judge.embed_images(side) @ judge.embed_texts(PROMPTS).T) for side in pairs]
    assert values["hps.base"] == pytest.approx(np.mean(cosines[0]), abs=1e-6)
    assert values["hps.difference"] == pytest.approx(np.mean(cosines[1] - cosines[0]), abs=1e-6)


def test_hps_opens_a_file_of_weights_under_its_architecture(tmp_path, pairs):
    import open_clip
    import torch

    settings = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "Small-HPS.json").write_text(json.dumps(settings))
    open_clip.add_model_config(tmp_path / "Small-HPS.json")
    torch.manual_seed(0)
    model = open_clip.create_model("Small-HPS")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "HPS.pt")
    values = values_of(f"hps:{tmp_path / 'HPS.pt'}#Small-HPS", pairs)
    transform = open_clip.image_transform(32, is_train=False)
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([transform(Image.fromarray(image)) for image in pairs[0]]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer("Small-HPS")(PROMPTS), normalize=True)
    assert values["hps.base"] == pytest.approx(float((images * texts).sum(dim=1).mean()), abs=1e-5)


@pytest.mark.parametrize("hidden", [(), (8, 4)])
def test_the_aesthetic_score_is_the_head_on_unit_embeddings(hidden, tmp_path, pairs):
    judge = JudgeLoader("cpu").clip_model(CLIP)
    embeddings = judge.embed_images(pairs[0])
    layers = networks_of_metrics.save_head(tmp_path / "head.pth", embeddings.shape[1], hidden)
    values = values_of(f"aesthetic:{tmp_path / 'head.pth'}#{CLIP}", pairs)
    for weight, bias in layers:
        embeddings = embeddings @ weight.T + bias
    assert values["aesthetic.base"] == pytest.approx(float(embeddings.mean()), abs=1e-5)
    assert set(values) == {f"aesthetic.{part}" for part in PARTS}


def test_vqascore_is_the_probability_of_yes(llava, pairs):
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    values = values_of(f"vqascore:{llava}", pairs)
    model, processor = LlavaForConditionalGeneration.from_pretrained(llava).eval(), AutoProcessor.from_pretrained(llava)
    expected = []
    for image, prompt in zip(pairs[0], PROMPTS, strict=True):
        text = f'<image>Does this figure show "{prompt}"? Please answer yes or no.'
        inputs = processor(images=Image.fromarray(image), text=text, return_tensors="pt")
        with torch.inference_mode():
            given = model.generate(**inputs, max_new_tokens=1, output_scores=True, return_dict_in_generate=True, do_sample=False)
        expected.append(float(given.scores[0].softmax(dim=-1)[0, processor.tokenizer.convert_tokens_to_ids("Yes")]))
    assert values["vqascore.base"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert values["vqascore.base"] != pytest.approx(values["vqascore.candidate"], rel=1e-6)


def test_csd_is_the_cosine_of_style_embeddings(tmp_path, pairs):
    import torch
    from open_clip import image_transform

    tower = networks_of_metrics.save_style_network(tmp_path / "csd.pth")
    values = values_of(f"csd:{tmp_path / 'csd.pth'}", pairs)
    transform = image_transform(32, is_train=False)
    with torch.inference_mode():
        before, after = (tower(torch.stack([transform(Image.fromarray(image)) for image in side])) for side in pairs)
        expected = float(torch.nn.functional.cosine_similarity(before, after).mean())
    assert values == {"csd": pytest.approx(expected, abs=1e-5), "csd.images": 3}
    assert values_of(f"csd:{tmp_path / 'csd.pth'}", (pairs[0], pairs[0]))["csd"] == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_DREAMSIM, reason="dreamsim is not installed")
def test_dreamsim_is_the_distance_of_the_package(root, pairs):
    import torch
    from dreamsim import dreamsim

    folder = networks_of_metrics.save_dreamsim(root / "dreamsim")
    values = values_of(f"dreamsim:{folder}", pairs)
    network, prepare = dreamsim(device="cpu", cache_dir=str(folder), dreamsim_type="open_clip_vitb32")
    with torch.inference_mode():
        expected = [
            float(network(prepare(Image.fromarray(one)), prepare(Image.fromarray(other))))
            for one, other in zip(*pairs, strict=True)
        ]
    assert values == {"dreamsim": pytest.approx(np.mean(expected), abs=1e-5), "dreamsim.images": 3}
    assert values["dreamsim"] > 1e-4


def test_shares_of_labels_and_their_distance(root, pairs):
    from transformers import AutoImageProcessor, ViTForImageClassification

    folder = small_networks.save_classifier(root / "perceived-gender", labels=("Female", "Male", "not clear", "Not clear"))
    values = values_of(f"labels:{folder}", pairs)
    model, processor = ViTForImageClassification.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    names = ["female", "male", "not-clear-2", "not-clear-3"]
    shares = []
    for side, images in zip(("base", "candidate"), pairs, strict=True):
        found = model(**processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")).logits.argmax(dim=1)
        shares.append(np.array([float((found == place).sum()) / 3 for place in range(4)]))
        got = [values[f"labels_perceived_gender.{side}.{name}"] for name in names]
        assert got == pytest.approx(list(shares[-1]))
    assert values["labels_perceived_gender.total_variation"] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)


def test_of_many_labels_only_those_are_listed_that_an_image_has(root, pairs):
    folder = small_networks.save_classifier(root / "many", labels=tuple(f"label {place}" for place in range(20)))
    values = values_of(f"labels:{folder}", pairs)
    listed = {name.rpartition(".")[2] for name in values if name.startswith("labels_many.base.")}
    assert 1 <= len(listed) <= 6
    assert sum(value for name, value in values.items() if name.startswith("labels_many.candidate.")) == pytest.approx(1.0)


def test_labels_that_do_not_exclude_each_other_are_refused(root):
    folder = small_networks.save_classifier(root / "several", problem_type="multi_label_classification")
    with pytest.raises(LoadError, match="do not exclude each other"):
        opened(f"labels:{folder}")


def test_the_difference_is_that_of_pairs_with_its_standard_error():
    base, candidate = np.array([1.0, 5.0, 3.0]), np.array([2.0, 5.5, 4.5])
    values = paired_values("m", base, candidate, ["a", "b", "c"])
    assert values["m.difference"] == pytest.approx(1.0)
    assert values["m.standard_error"] == pytest.approx(np.std([1.0, 0.5, 1.5], ddof=1) / 3**0.5)
    assert values["m.prompts"] == 3
    for prompts in (["a"], ["a", "a", "a"]):
        alone = paired_values("m", base[: len(prompts)], candidate[: len(prompts)], prompts)
        assert "m.standard_error" not in alone
        assert alone["m.prompts"] == 1


def test_pairs_of_one_prompt_count_as_dependent():
    differences = np.array([1.0, 3.0, 5.0, 7.0, 2.0, 2.0])
    values = paired_values("m", np.zeros(6), differences, ["a", "a", "b", "b", "c", "c"])
    assert values["m.standard_error"] == pytest.approx(np.std([2.0, 6.0, 2.0], ddof=1) / 3**0.5)
    turned = paired_values("m", np.zeros(6), differences[::-1], ["c", "c", "b", "b", "a", "a"])
    assert turned["m.standard_error"] == pytest.approx(values["m.standard_error"])
    copied = paired_values("m", np.zeros(12), np.tile(differences, 2), ["a", "a", "b", "b", "c", "c"] * 2)
    assert copied["m.standard_error"] == pytest.approx(values["m.standard_error"])  # more of the same is no more evidence


def test_values_do_not_depend_on_other_pairs(clip, llava, tmp_path, pairs):
    """Each image's score is the same alone and among others."""
    for text in (f"pickscore:{clip}", f"vqascore:{llava}"):
        metric = opened(text)
        together = metric.scores(pairs[0], PROMPTS)
        alone = [metric.scores([image], [prompt])[0] for image, prompt in zip(pairs[0], PROMPTS, strict=True)]
        assert list(together) == alone


def test_other_weights_give_another_digest(tmp_path, clip):
    import torch

    first = opened(f"aesthetic:{_head(tmp_path / 'one.pth')}#{CLIP}").digest
    torch.save({name: value + 1 for name, value in torch.load(tmp_path / "one.pth").items()}, tmp_path / "other.pth")
    assert opened(f"aesthetic:{tmp_path / 'other.pth'}#{CLIP}").digest != first
    files = digest_of_sources(parse_metric(f"aesthetic:{tmp_path / 'one.pth'}#{CLIP}"))
    assert digest_of_sources(parse_metric(f"aesthetic:{tmp_path / 'other.pth'}#{CLIP}")) != files
    (tmp_path / "other.pth").write_bytes((tmp_path / "one.pth").read_bytes())
    assert digest_of_sources(parse_metric(f"aesthetic:{tmp_path / 'other.pth'}#{CLIP}")) == files


def _head(path, width=None):
    width = width or JudgeLoader("cpu").clip_model(CLIP).embed_texts(["a"]).shape[1]
    networks_of_metrics.save_head(path, width)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pikscore:{clip}", "did you mean pickscore:"),
        ("pickscore", "is of no known kind"),
        ("pickscore:{nothing}", "there is no folder"),
        ("hps:{nothing}", "there is no file"),
        (f"hps:{CLIP}#ViT-H-14", "names an architecture"),
        ("hps:local-dir:{clip}", "cannot use its CLIP model"),
        ("aesthetic:{head}", "names no CLIP model"),
        ("aesthetic:{head}#ViT-L-14", "names no CLIP model"),
        ("aesthetic:{nothing}#" + CLIP, "there is no file"),
        ("csd:{nothing}", "there is no file"),
        ("vqascore:{clip}/config.json", "no config.json"),
        ("labels:./nowhere", "there is no folder ./nowhere"),
        ("dreamsim:{clip}", "there is no open_clip_vitb32_pretrain|needs the package dreamsim"),
        ("dreamsim:{clip}#ensemble", "the variant 'ensemble'|needs the package dreamsim"),
    ],
)
def test_what_is_not_there_is_refused_without_a_model(text, words, clip, tmp_path):
    reference = text.format(clip=clip, nothing=tmp_path / "nothing", head=_head(tmp_path / "head.pth", 8))
    with pytest.raises(LoadError, match=words) as error:
        parse_metric(reference)
    assert error.value.what.startswith("metric ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aesthetic:{narrow}#" + CLIP, "the head reads 8 numbers"),
        ("aesthetic:{style}#" + CLIP, "no head of linear layers"),
        ("csd:{narrow}", "does not hold the network of CSD"),
        ("csd:{pickled}", "cannot be read"),
        ("vqascore:{silent}", "no chat template"),
        ("vqascore:{clip}", "cannot be opened by transformers"),
        ("pickscore:{llava}", "cannot be opened by transformers|lacks"),
        ("hps:{narrow}#No-Such-Architecture", "cannot use its CLIP model"),
    ],
)
def test_weights_of_another_kind_are_one_error(text, words, clip, llava, tmp_path):
    import torch

    networks_of_metrics.save_style_network(tmp_path / "style.pth")
    torch.save({"state_dict": _Code()}, tmp_path / "pickled.pth")
    folders = {"clip": clip, "llava": llava, "silent": networks_of_metrics.save_llava(tmp_path / "silent", template=None)}
    files = {"style": tmp_path / "style.pth", "pickled": tmp_path / "pickled.pth", "narrow": _head(tmp_path / "narrow.pth", 8)}
    with pytest.raises(LoadError, match=words) as error:
        opened(text.format(**folders, **files))
    assert error.value.what.startswith("metric ")
    assert not _Code.ran


class _Code:
    """An object whose unpickling would be noticed."""

    ran = False

    def __reduce__(self):
        return _run, ()


def _run():
    _Code.ran = True
    return {}


def test_two_metrics_of_one_name_are_refused(tmp_path, clip):
    one, other = _head(tmp_path / "one.pth"), _head(tmp_path / "other.pth")
    with pytest.raises(UsageError, match="gives values called 'aesthetic'"):
        open_metrics([f"aesthetic:{one}#{CLIP}", f"aesthetic:{other}#{CLIP}"], JudgeLoader("cpu"))
    with pytest.raises(UsageError, match="is given twice"):
        open_metrics([f"aesthetic:{one}#{CLIP}"] * 2, JudgeLoader("cpu"))
    with pytest.raises(UsageError, match="so does a metric of another package"):
        open_metrics([f"pickscore:{clip}"], JudgeLoader("cpu"), taken=["pickscore"])


def test_every_kind_says_how_to_write_it_and_how_to_read_it():
    for name, kind in metric_kinds().items():
        assert kind.usage.startswith(f"{name}:")
        assert kind.note.endswith(".")
