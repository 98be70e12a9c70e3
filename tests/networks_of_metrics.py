"""Small networks for metrics: real classes with random weights, saved as published ones are."""

from itertools import pairwise

from small_networks import SIZE, SMALL  # first: it makes torchvision importable
from small_tokenizers import CLIP_LENGTH, clip_tokenizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

STYLE_WIDTH = 64
"""Of the small trunk of CSD: one of CLIP's attention heads."""

CHAT = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def _torch():
    import torch

    torch.manual_seed(0)
    return torch


def save_clip(folder):
    """A CLIPModel of two layers in each tower, with its processor."""
    _torch()
    tokenizer = clip_tokenizer()
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPConfig(
        text_config=SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": CLIP_LENGTH} | ends,
        vision_config=SMALL | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
        initializer_factor=8.0,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE), tokenizer).save_pretrained(folder)
    return folder


def save_llava(folder, template=CHAT):
    """A LLaVA with a CLIP tower and a Llama of two layers each. Its tokenizer has a token for every byte, and "Yes" is one of its words."""
    _torch()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: place for place, letter in enumerate(letters)}
    merged = {"Ye": len(words), "Yes": len(words) + 1}
    backend = Tokenizer(models.BPE(vocab=words | merged, merges=[("Y", "e"), ("Ye", "s")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**SMALL, image_size=32, patch_size=8, projection_dim=32),
        text_config=LlamaConfig(
            **SMALL, num_key_value_heads=2, vocab_size=len(tokenizer), max_position_embeddings=512, initializer_range=0.2
        ),
        image_token_index=image,
        image_seq_length=16,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    return folder


def save_head(path, width, hidden=()):
    """A head of linear layers after one another, named as in LAION's files; one layer alone has no number. The layers, as numpy arrays."""
    torch = _torch()
    sizes = [width, *hidden, 1]
    layers = [torch.nn.Linear(before, after) for before, after in pairwise(sizes)]
    named = {f"layers.{2 * place}.": layer for place, layer in enumerate(layers)} if hidden else {"": layers[0]}
    torch.save({prefix + name: value for prefix, layer in named.items() for name, value in layer.state_dict().items()}, path)
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]


def save_style_network(path):
    """An image tower of CLIP with two layers, saved as CSD's checkpoint is. The tower, whose projection is the matrix for style."""
    torch = _torch()
    from open_clip.transformer import QuickGELU, VisionTransformer

    tower = VisionTransformer(32, 8, STYLE_WIDTH, 2, 1, 4.0, output_dim=24, act_layer=QuickGELU)
    trunk = {name: value for name, value in tower.state_dict().items() if name != "proj"}
    tensors = {f"module.backbone.{name}": value for name, value in trunk.items()}
    tensors |= {"module.last_layer_style": tower.proj.data, "module.last_layer_content": tower.proj.data * 2}
    torch.save({"model_state_dict": tensors, "epoch": 3}, path)
    return tower.eval()


def save_inception(path):
    """FID's InceptionV3 with random weights, which keep the size of its features about 1."""
    torch = _torch()
    import io

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Random(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict, *rest, **named):
            return None  # the package loads weights while it is built; this network keeps its random ones

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    network = Random("inception-v3-compat", ["2048"], feature_extractor_weights_path=empty)
    torch.save(network.state_dict(), path)
    return network


def save_dreamsim(folder, variant="open_clip_vitb32"):
    """DreamSim's files of one variant, with random weights: a ViT-B/32 in the package's form and a LoRA of peft."""
    torch = _torch()
    from dreamsim.feature_extraction.vision_transformer import vit_base
    from dreamsim.model import PerceptualModel, dreamsim_args
    from peft import LoraConfig, get_peft_model

    folder.mkdir()
    tower = vit_base(patch_size=32)
    tower.pos_drop = torch.nn.LayerNorm(tower.embed_dim)
    proj = torch.randn(768, 512) / 768**0.5
    torch.save({"state_dict": tower.state_dict() | {"proj": proj}}, folder / f"{variant}_pretrain.pth.tar")
    plain = PerceptualModel(**dreamsim_args["model_config"][variant], device="cpu", load_dir=str(folder), normalize_embeds=True)
    adapted = get_peft_model(
        plain, LoraConfig(r=2, lora_alpha=2, lora_dropout=0.0, target_modules=["qkv"], init_lora_weights=False)
    )
    adapted.save_pretrained(folder / f"{variant}_single_lora")
    return folder
