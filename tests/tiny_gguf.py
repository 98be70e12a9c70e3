"""A chat model for llama.cpp as a GGUF file of a few hundred kB: a Llama of two layers with random weights, its tokenizer and template."""

import json

import numpy as np
from tiny_models import CHAT, chat_tokenizer

WIDTH, INNER, HEADS, LAYERS, CONTEXT = 32, 64, 2, 2, 16_384
PUNCTUATION = '"]}'  # more likely than other characters, so that texts and lists end
SPACES = ("Ġ", "Ċ")  # how byte pairs write a space and the end of a line


def save_llama_gguf(path, *, odd_bytes=False):
    """Write the model. With `odd_bytes` its texts are full of bytes that are no UTF-8."""
    import gguf

    tokenizer = json.loads(chat_tokenizer().backend_tokenizer.to_str())
    vocabulary = tokenizer["model"]["vocab"]
    special = {entry["content"] for entry in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(vocabulary["<s>"])
    writer.add_eos_token_id(vocabulary["<|eot|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)
    for name, tensor in _tensors(tokens, odd_bytes).items():
        writer.add_tensor(name, tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(tokens, odd_bytes):
    """Random weights. The first number of every hidden state is large; its weights make tokens more or less likely."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.normal(0, 0.3, shape)

    embedding, output = random(len(tokens), WIDTH), random(len(tokens), WIDTH)
    embedding[:, 0], output[:, 0] = 6.0, 0.0
    for character in PUNCTUATION:
        output[tokens.index(character), 0] = 1.0
    if not odd_bytes:
        output[[not token.isascii() and not token.startswith(SPACES) for token in tokens], 0] = -3.0
        output[[token.startswith(("Ċ", "ĉ")) for token in tokens], 0] = -1.0
    tensors = {"token_embd.weight": embedding, "output_norm.weight": np.ones(WIDTH), "output.weight": output}
    for layer in range(LAYERS):
        block = {name: random(WIDTH, WIDTH) / 3 for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        block |= {"ffn_gate": random(INNER, WIDTH), "ffn_up": random(INNER, WIDTH), "ffn_down": random(WIDTH, INNER) / 3}
        block |= {name: np.ones(WIDTH) for name in ("attn_norm", "ffn_norm")}
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    return tensors
