"""Detectors of every kind on small networks: scores against those of transformers, and what cannot be opened."""

import json
import shutil

import numpy as np
import pytest
import small_networks
from PIL import Image

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.kinds import parse_judge
from dmun_audit.judge.loading import JudgeLoader
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
        "face": small_networks.save_face_network(root / "face.onnx"),
    }


@pytest.fixture
def photos(tmp_path, images):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(images[:3]):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def references(networks, photos):
    """A reference of each kind of detector."""
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
def test_a_score_is_between_0_and_1_and_does_not_depend_on_other_images(kind, references, detector, images):
    opened = detector(references[kind])
    scores = opened.target_scores(images)
    assert scores.shape == (len(images),)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert len(np.unique(scores)) > 1
    assert np.array_equal(scores, np.concatenate([opened.target_scores([image]) for image in images]))


@pytest.mark.parametrize("kind", ["classifier", "several"])
def test_a_classifier_scores_as_the_pipeline_of_transformers_does(kind, references, networks, detector, images):
    from transformers import pipeline

    oracle = pipeline("image-classification", model=str(networks[kind]))
    scores = [{each["label"]: each["score"] for each in oracle(Image.fromarray(image))} for image in images]
    merge = max if kind == "several" else lambda *each: sum(each)
    expected = [merge(each["porn"], each["hentai"]) for each in scores]
    assert np.allclose(detector(references[kind]).target_scores(images), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["owl", "grounding"])
def test_an_object_detector_scores_as_the_processor_of_transformers_scores_the_best_box(
    kind, references, networks, detector, images
):
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor = AutoProcessor.from_pretrained(networks[kind])
    model = AutoModelForZeroShotObjectDetection.from_pretrained(networks[kind])
    expected = []
    for image in images[:4]:
        inputs = processor(images=Image.fromarray(image), text=[["a logo"]], return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        (boxes,) = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[image.shape[:2]])
        expected.append(boxes["scores"].max().item())
    scores = detector(references[kind]).target_scores(images[:4])
    assert np.allclose(scores, expected, atol=1e-5)
    other = detector(references[kind].replace("a logo", "a house"))
    assert not np.allclose(scores, other.target_scores(images[:4]), atol=1e-5)
    assert other.digest != detector(references[kind]).digest


def test_the_score_by_reference_images_is_the_cosine_with_their_mean(references, networks, detector, images):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(networks["dino"])
    model = AutoModel.from_pretrained(networks["dino"]).eval()
    with torch.inference_mode():
        inputs = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")
        embeddings = model(**inputs).pooler_output.numpy().astype(float)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    mean = embeddings[:3].mean(axis=0)
    expected = (embeddings @ mean / np.linalg.norm(mean)).clip(0, 1)
    assert np.allclose(detector(references["dino"]).target_scores(images), expected, atol=1e-5)


def test_a_face_network_reads_the_central_square_in_rgb(networks, detector, tmp_path):
    """The embedding is the mean colour of each quarter, so that similarities of plain images are known."""
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


def test_without_a_query_a_classifier_uses_the_label_with_the_target_s_name(detector, dossier, tmp_path):
    folder = small_networks.save_classifier(tmp_path / "styles", labels=("monet", "VAN  GOGH", "seurat"))
    assert detector(f"classifier:{folder}").digest == detector(f"classifier:{folder}#van gogh").digest
    assert detector(f"classifier:{folder}").digest != detector(f"classifier:{folder}#monet").digest


@pytest.mark.parametrize(
    ("query", "words"),
    [("#pron", "did you mean #porn"), ("#porn+cats", "no label 'cats'"), ("", "knows no label 'Van Gogh'")],
)
def test_an_unknown_label_is_one_error_that_lists_the_labels(query, words, networks, detector):
    with pytest.raises(LoadError) as error:
        detector(f"classifier:{networks['classifier']}{query}")
    assert words in str(error.value)
    assert "neutral, porn, hentai" in str(error.value)


def test_a_network_without_a_trained_head_is_refused(networks, detector, photos):
    """transformers would fill the head with random weights, and mention it in a log."""
    with pytest.raises(LoadError, match=r"lacks \d+ tensors.*classifier"):
        detector(f"classifier:{_body(networks)}#LABEL_0")
    assert detector(f"references:{_body(networks)}#{photos}").digest


def _body(networks):
    """The classifier's ViT without head and pooler, as self-supervised checkpoints are published."""
    from transformers import ViTModel

    folder = networks["classifier"].with_name("body")
    ViTModel.from_pretrained(networks["classifier"], add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(networks["classifier"] / "preprocessor_config.json", folder)
    return folder


def test_a_model_of_another_kind_is_one_error(networks, detector, photos):
    for text in (f"objects:{networks['classifier']}#a logo", f"classifier:{networks['owl']}#x"):
        with pytest.raises(LoadError, match="cannot be opened by transformers"):
            detector(text)
    with pytest.raises(LoadError, match=r"reads 16 tokens"):
        detector(f"objects:{networks['owl']}#" + "a logo of a house " * 6)


def test_a_file_that_is_no_face_network_is_one_error(detector, photos, tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(LoadError, match="cannot be opened by onnxruntime"):
        detector(f"faces:{tmp_path / 'text.onnx'}#{photos}")
    other = small_networks.save_face_network(tmp_path / "small.onnx", side=64)
    with pytest.raises(LoadError, match="no face network like ArcFace"):
        detector(f"faces:{other}#{photos}")


def test_a_reference_image_that_cannot_be_read_is_named(networks, detector, photos):
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(LoadError, match=r"broken\.png"):
        detector(f"references:{networks['dino']}#{photos}")


def test_a_digest_covers_weights_preprocessing_and_query(networks, detector, photos, tmp_path):
    copy = shutil.copytree(networks["classifier"], tmp_path / "copy")
    first = detector(f"classifier:{networks['classifier']}#porn").digest
    assert detector(f"classifier:{copy}#porn").digest == first
    assert detector(f"classifier:{copy}#hentai").digest != first
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.4, 0.5, 0.5]}))
    assert detector(f"classifier:{copy}#porn").digest != first
    before = detector(f"references:{networks['dino']}#{photos}").digest
    (photos / "2.png").unlink()
    assert detector(f"references:{networks['dino']}#{photos}").digest != before


def test_a_network_is_opened_once_for_all_queries(networks, dossier):
    loader = JudgeLoader("cpu")
    references = [parse_judge(f"classifier:{networks['classifier']}#{label}") for label in ("porn", "hentai")]
    assert loader.network(references[0]) is loader.network(references[1])
