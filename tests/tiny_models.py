"""Small chat models with random weights, built from configuration and saved as real ones are: Llama, and Llama 3.2 Vision."""

from dmun_audit._util import torchvision_compatibility

CHAT = (
    "{% for m in messages %}<|start|>{{ m['role'] }}<|colon|>"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|colon|>{% endif %}"
)
TEXTS = ["a painting of a house by the sea", '{"items": [{"prompt": "a boat", "number": 1, "rating": 50}]}', "the target is"]


def chat_tokenizer():
    """Byte pairs over the whole byte alphabet, so that any text can be read, with the template of a chat."""
    torchvision_compatibility.make_importable()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "<|eot|>", "<|start|>", "<|colon|>", "<|image|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(TEXTS * 20, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet))
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", bos_token="<s>", eos_token="<|eot|>", chat_template=CHAT
    )


def _text_settings(tokenizer):
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16_384,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def save_llama(folder):
    """A Llama of two layers, with a tokenizer and a chat template."""
    tokenizer = chat_tokenizer()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**_text_settings(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_llama_vision(folder):
    """A Llama 3.2 Vision (Mllama) of two layers with its processor."""
    tokenizer = chat_tokenizer()
    import torch
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessor, MllamaProcessor
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

    torch.manual_seed(0)
    text = MllamaTextConfig(
        **_text_settings(tokenizer), cross_attention_layers=[1], rope_parameters={"rope_type": "default", "rope_theta": 10_000.0}
    )
    vision = MllamaVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_global_layers=1,
        attention_heads=2,
        image_size=28,
        patch_size=14,
        max_num_tiles=1,
        supported_aspect_ratios=[[1, 1]],
        intermediate_layers_indices=[0],
        vision_output_dim=32,
    )
    image_token = tokenizer.convert_tokens_to_ids("<|image|>")
    model = MllamaForConditionalGeneration(MllamaConfig(vision_config=vision, text_config=text, image_token_index=image_token))
    model.save_pretrained(folder)
    images = MllamaImageProcessor(size={"height": 28, "width": 28}, max_image_tiles=1)
    MllamaProcessor(images, tokenizer, chat_template=CHAT).save_pretrained(folder)
    return folder
