"""Detectors of every kind on small networks: what they say against transformers' own words, and what they refuse to open."""

import json
import shutil

import numpy as np
import pytest
import small_networks
from PIL import Image

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.opening import Judges
from dmun_audit.judge.reference import parse_judge
from dmun_audit.models.references import atelier_judge


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders of small networks, by kind."""
    root = tmp_path_factory.mktemp("networks")
    return {
        "classifier": small_networks.save_classifier(root / "classifier"),
        "several": small_networks.save_classifier(root / "several", problem_type="multi_label_classification"),
        "owl": small_networks.save_owl(root / "owl"),
        "grounding": small_networks.save_grounding_dino(root / "grounding"),
        "dino": small_networks.save_dino(root / "dino"),
        "face": small_networks.save_facenetwork(root / "face.onnx"),
    }


@pytest.fixture
def photos(tmp_path, pictures):
    folder = tmp_path / "photos"
    folder.mkdir()
    for place, picture in enumerate(pictures[:3]):
        Image.fromarray(picture).save(folder / f"{place}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def references(networks, photos):
    """One detector of each kind."""
    return {
        "classifier": f"classifier:{networks['classifier']}#porn+hentai",
        "several": f"classifier:{networks['several']}#porn+hentai",
        "owl": f"objects:{networks['owl']}#a logo",
        "grounding": f"objects:{networks['grounding']}#a logo",
        "dino": f"references:{networks['dino']}#{photos}",
        "clip": f"references:local-dir:{atelier_judge()}#{photos}",
        "face": f"faces:{networks['face']}#{photos}",
    }


KINDS = ["classifier", "several", "owl", "grounding", "dino", "clip", "face"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_between_0_and_1_and_does_not_depend_on_its_company(kind, references, detector, pictures):
    one = detector(references[kind])
    together = one.target_scores(pictures)
    assert together.shape == (len(pictures),)
    assert ((together >= 0) & (together <= 1)).all()
    assert len(np.unique(together)) > 1
    assert np.array_equal(together, np.concatenate([one.target_scores([picture]) for picture in pictures]))


@pytest.mark.parametrize("kind", ["classifier", "several"])
def test_a_classifier_says_what_its_pipeline_says(kind, references, networks, detector, pictures):
    from transformers import pipeline

    oracle = pipeline("image-classification", model=str(networks[kind]))
    said = [{each["label"]: each["score"] for each in oracle(Image.fromarray(picture))} for picture in pictures]
    merge = max if kind == "several" else lambda *shares: sum(shares)
    expected = [merge(shares["porn"], shares["hentai"]) for shares in said]
    assert np.allclose(detector(references[kind]).target_scores(pictures), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["owl", "grounding"])
def test_an_object_detector_says_what_its_processor_says_of_the_best_box(kind, references, networks, detector, pictures):
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor = AutoProcessor.from_pretrained(networks[kind])
    model = AutoModelForZeroShotObjectDetection.from_pretrained(networks[kind])
    expected = []
    for picture in pictures[:4]:
        inputs = processor(images=Image.fromarray(picture), text=[["a logo"]], return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        (found,) = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[picture.shape[:2]])
        expected.append(found["scores"].max().item())
    scores = detector(references[kind]).target_scores(pictures[:4])
    assert np.allclose(scores, expected, atol=1e-5)
    other = detector(references[kind].replace("a logo", "a house"))
    assert not np.allclose(scores, other.target_scores(pictures[:4]), atol=1e-5)
    assert other.digest != detector(references[kind]).digest


def test_likeness_is_the_cosine_with_the_mean_of_the_pictures(references, networks, detector, pictures):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(networks["dino"])
    model = AutoModel.from_pretrained(networks["dino"]).eval()
    with torch.inference_mode():
        inputs = processor(images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt")
        seen = model(**inputs).pooler_output.numpy().astype(float)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    centre = seen[:3].mean(axis=0)
    expected = (seen @ centre / np.linalg.norm(centre)).clip(0, 1)
    assert np.allclose(detector(references["dino"]).target_scores(pictures), expected, atol=1e-5)


def test_a_face_network_sees_the_central_square_in_rgb(networks, detector, tmp_path):
    """The network answers with mean colours of the quarters, so likeness of plain pictures is known by hand."""
    photos = tmp_path / "photos"
    photos.mkdir()
    plain = np.zeros((112, 112, 3), np.uint8)
    plain[..., 0] = 255  # red: (1, -1, -1) in each quarter
    Image.fromarray(plain).save(photos / "red.png")
    wide = np.full((112, 212, 3), 127, np.uint8)
    wide[:, 50:162] = plain  # the same face, with much beside it
    blue = plain[..., ::-1]
    scores = detector(f"faces:{networks['face']}#{photos}").target_scores([plain, wide, blue, 255 - plain])
    assert np.allclose(scores, [1, 1, 0, 0], atol=1e-5)  # blue has the cosine -1/3


def test_a_classifier_finds_the_label_that_is_called_as_the_target(detector, dossier, tmp_path):
    folder = small_networks.save_classifier(tmp_path / "styles", labels=("monet", "VAN  GOGH", "seurat"))
    assert detector(f"classifier:{folder}").digest == detector(f"classifier:{folder}#van gogh").digest
    assert detector(f"classifier:{folder}").digest != detector(f"classifier:{folder}#monet").digest


@pytest.mark.parametrize(
    ("asked", "words"),
    [("#pron", "did you mean #porn"), ("#porn+cats", "no label 'cats'"), ("", "knows no label 'Van Gogh'")],
)
def test_an_unknown_label_is_one_error_with_the_labels_there_are(asked, words, networks, detector):
    with pytest.raises(LoadError) as told:
        detector(f"classifier:{networks['classifier']}{asked}")
    assert words in str(told.value)
    assert "neutral, porn, hentai" in str(told.value)


def test_a_network_without_a_trained_head_is_refused(networks, detector, photos):
    """transformers would put random weights there and say so in a log."""
    with pytest.raises(LoadError, match=r"lacks \d+ tensors.*classifier"):
        detector(f"classifier:{_body_alone(networks)}#LABEL_0")
    assert detector(f"references:{_body_alone(networks)}#{photos}").digest


def _body_alone(networks):
    """The ViT of the classifier as a bare body, as a self-supervised checkpoint is published: no head, no pooler."""
    from transformers import ViTModel

    folder = networks["classifier"].with_name("body")
    ViTModel.from_pretrained(networks["classifier"], add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(networks["classifier"] / "preprocessor_config.json", folder)
    return folder


def test_what_is_no_model_of_the_kind_is_one_error(networks, detector, photos):
    for text in (f"objects:{networks['classifier']}#a logo", f"classifier:{networks['owl']}#x"):
        with pytest.raises(LoadError, match="cannot be opened by transformers"):
            detector(text)
    with pytest.raises(LoadError, match=r"reads 16 tokens"):
        detector(f"objects:{networks['owl']}#" + "a logo of a house " * 6)


def test_what_is_no_face_network_is_one_error(detector, photos, tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(LoadError, match="cannot be opened by onnxruntime"):
        detector(f"faces:{tmp_path / 'text.onnx'}#{photos}")
    other = small_networks.save_facenetwork(tmp_path / "small.onnx", side=64)
    with pytest.raises(LoadError, match="no face network of ArcFace's kind"):
        detector(f"faces:{other}#{photos}")


def test_a_picture_that_cannot_be_read_is_named(networks, detector, photos):
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(LoadError, match=r"broken\.png"):
        detector(f"references:{networks['dino']}#{photos}")


def test_a_digest_covers_weights_preprocessing_and_what_is_asked(networks, detector, photos, tmp_path):
    copy = shutil.copytree(networks["classifier"], tmp_path / "copy")
    first = detector(f"classifier:{networks['classifier']}#porn").digest
    assert detector(f"classifier:{copy}#porn").digest == first
    assert detector(f"classifier:{copy}#hentai").digest != first
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.4, 0.5, 0.5]}))
    assert detector(f"classifier:{copy}#porn").digest != first
    resembling = detector(f"references:{networks['dino']}#{photos}").digest
    (photos / "2.png").unlink()
    assert detector(f"references:{networks['dino']}#{photos}").digest != resembling


def test_a_network_is_opened_once_for_all_that_is_asked_of_it(networks, dossier):
    judges = Judges("cpu")
    asked = [parse_judge(f"classifier:{networks['classifier']}#{label}") for label in ("porn", "hentai")]
    assert judges.network(asked[0]) is judges.network(asked[1])
