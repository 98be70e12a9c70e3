"""Small networks for detectors: made from a configuration with random weights, and saved as real networks are."""

from small_tokenizers import CLIP_LENGTH, clip_tokenizer  # first: it makes torchvision importable
from transformers import (
    BertTokenizer,
    Dinov2Config,
    Dinov2Model,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZE = {"height": 32, "width": 32}


def _seeded():
    import torch

    torch.manual_seed(0)


def _shrink(*layers):
    """Scale the weights of layers down: scores near 1 would all be equal."""
    for layer in layers:
        layer.weight.data *= 0.1
        layer.bias.data *= 0.1


def save_classifier(folder, labels=("neutral", "porn", "hentai"), problem_type=None):
    """A ViT of two layers with a head of `labels`."""
    _seeded()
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: place for place, label in enumerate(labels)}}
    config = ViTConfig(**SMALL, image_size=32, patch_size=8, **named, problem_type=problem_type, initializer_range=0.3)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size=SIZE).save_pretrained(folder)
    return folder


def save_dino(folder):
    """A DINOv2 of two layers."""
    _seeded()
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, initializer_range=0.3
    )
    Dinov2Model(config).save_pretrained(folder)
    ViTImageProcessor(size=SIZE).save_pretrained(folder)
    return folder


def save_owl(folder):
    """An OWLv2 of two layers in each tower. It reads sixteen tokens, as published ones do."""
    _seeded()
    tokenizer = clip_tokenizer()
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 16} | ends
    vision = SMALL | {"image_size": 32, "patch_size": 8}
    model = Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=32))
    _shrink(model.class_head.logit_shift, model.class_head.logit_scale)
    model.save_pretrained(folder)
    tokenizer.model_max_length = 16
    Owlv2Processor(Owlv2ImageProcessor(size=SIZE), tokenizer).save_pretrained(folder)
    tokenizer.model_max_length = CLIP_LENGTH
    return folder


def save_grounding_dino(folder):
    """A Grounding DINO with a Swin of one block a stage and a BERT of two layers."""
    _seeded()
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,?"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(vocabulary)}, model_max_length=64)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2,
            "image_size": 64, "out_indices": [2, 3, 4],
        },
        text_config={"model_type": "bert", "vocab_size": len(vocabulary), **SMALL, "max_position_embeddings": 64},
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=6, max_text_len=64, num_feature_levels=4,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config)
    _shrink(model.model.decoder.layer_norm)
    model.save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_face_network(path, side=112, channels=3):
    """A network whose embedding of a face is the mean of each colour in each quarter: three times four numbers."""
    import onnx
    from onnx import TensorProto, helper

    half = side // 2
    nodes = [
        helper.make_node("AveragePool", ["input"], ["quarters"], kernel_shape=[half, half], strides=[half, half]),
        helper.make_node("Flatten", ["quarters"], ["embedding"]),
    ]
    read = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels, side, side])
    given = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, channels * 4])
    model = helper.make_model(helper.make_graph(nodes, "face", [read], [given]), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path
