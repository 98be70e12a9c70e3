"""Small tokenizers of CLIP's and T5's kind, trained on the packs: their prompts get about as many tokens as with the real ones."""

import json
from functools import cache
from pathlib import Path

from dmun_audit._util import torchvision_compatibility

torchvision_compatibility.make_importable()

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402 - after make_importable
from transformers import CLIPTokenizer, T5Tokenizer  # noqa: E402

PACKS = Path(__file__).parent.parent / "dmun_audit" / "knowledge" / "packs"
CLIP_LENGTH = 77


@cache
def _texts():
    """Every text of the packs."""
    texts = []

    def collect(value):
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                collect(part)

    for pack in sorted(PACKS.glob("*.json")):
        collect(json.loads(pack.read_text(encoding="utf-8")))
    return texts


@cache
def clip_tokenizer():
    """CLIP's byte pairs: the whole byte alphabet, so that any prompt can be read, and merges from training."""
    own = CLIPTokenizer()
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = own.backend_tokenizer.normalizer
    trained.pre_tokenizer = own.backend_tokenizer.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        _texts(), trainers.BpeTrainer(vocab_size=3000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    words = list(model["vocab"]) + [f"{byte}</w>" for byte in alphabet if f"{byte}</w>" not in model["vocab"]]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(pair) for pair in model["merges"]], model_max_length=CLIP_LENGTH)


@cache
def t5_tokenizer():
    """T5's unigrams, for texts of up to 512 tokens."""
    trained = Tokenizer(models.Unigram())
    trained.normalizer = normalizers.NFKC()
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(
        _texts(), trainers.UnigramTrainer(vocab_size=1500, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    pieces = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
