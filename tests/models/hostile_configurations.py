"""Configurations that would hang, take all memory, run code, or say two things: each differs from a good folder in one file."""

from __future__ import annotations

import json
import shutil

import torch
from safetensors.torch import load_file

UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
SCHEDULER, WORDS, TOKENIZER = "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json", "tokenizer/tokenizer.json"
INDEX = "model_index.json"
NAN, INFINITY = float("nan"), float("inf")

CHANGES = {
    "layers": (UNET, {"layers_per_block": 10**6}),
    "layers-of-each-block": (UNET, {"layers_per_block": [10**6, 1]}),
    "layers-as-a-share": (UNET, {"layers_per_block": 1e6}),
    "layers-of-transformers": (UNET, {"transformer_layers_per_block": 10**6}),
    "layers-times-layers": (UNET, {"layers_per_block": 60, "transformer_layers_per_block": 60}),
    "stages": (UNET, {"down_block_types": ["DownBlock2D"] * 5_000, "up_block_types": ["UpBlock2D"] * 5_000}),
    "channels": (UNET, {"block_out_channels": [10**9, 16]}),
    "channels-of-a-million": (UNET, {"block_out_channels": [10**6, 16]}),
    "channels-that-fit-no-tensor": (UNET, {"block_out_channels": [8_000, 8_000]}),
    "channels-in": (UNET, {"in_channels": 10**9}),
    "attention": (UNET, {"cross_attention_dim": 10**9}),
    "heads": (UNET, {"attention_head_dim": 10**9}),
    "groups-of-nothing": (UNET, {"norm_num_groups": 0}),
    "kernel": (UNET, {"conv_in_kernel": 10**9}),
    "classes": (UNET, {"num_class_embeds": 10**9}),
    "picture": (UNET, {"sample_size": 10**9}),
    "number-of-nothing": (UNET, {"norm_eps": NAN}),
    "many-numbers": (UNET, {"further": [0] * 300_000}),
    "deep-table": (UNET, {"further": json.loads('{"a":' * 60 + "1" + "}" * 60)}),
    "deep-list": (UNET, {"further": json.loads("[" * 60 + "1" + "]" * 60)}),
    "no-such-class": (UNET, {"down_block_types": ["os.system", "DownBlock2D"]}),
    "quantised": (UNET, {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}),
    "latents-times-nothing": (VAE, {"scaling_factor": 0}),
    "latents-times-nan": (VAE, {"scaling_factor": NAN}),
    "latents-times-infinity": (VAE, {"scaling_factor": INFINITY}),
    "latents-times-too-much": (VAE, {"scaling_factor": 1e30}),
    "latents-shifted": (VAE, {"shift_factor": -1e9}),
    "latents-without-spread": (VAE, {"latents_mean": [0.0] * 4, "latents_std": [0.0] * 4}),
    "vae-channels": (VAE, {"block_out_channels": [10**9, 8]}),
    "vae-latents": (VAE, {"latent_channels": 10**9}),
    "vae-picture": (VAE, {"sample_size": 10**9}),
    "vae-layers": (VAE, {"layers_per_block": 10**6}),
    "text-layers": (TEXT, {"num_hidden_layers": 10**6}),
    "text-width": (TEXT, {"hidden_size": 10**9}),
    "text-width-that-fits-no-tensor": (TEXT, {"hidden_size": 30_000, "intermediate_size": 30_000}),
    "text-positions": (TEXT, {"max_position_embeddings": 10**9}),
    "text-positions-that-fit-no-tensor": (TEXT, {"max_position_embeddings": 10**7}),
    "text-vocabulary": (TEXT, {"vocab_size": 10**9}),
    "text-heads": (TEXT, {"num_attention_heads": 0}),
    "text-kernel-of-the-hub": (TEXT, {"_attn_implementation": "owner/kernel"}),
    "text-attention-of-the-hub": (TEXT, {"attn_implementation": "owner/kernel@main:function"}),
    "text-type-of-code": (TEXT, {"dtype": "os.system"}),
    "schedule": (SCHEDULER, {"num_train_timesteps": 10**9}),
    "schedule-of-nothing": (SCHEDULER, {"num_train_timesteps": 0}),
    "schedule-as-a-text": (SCHEDULER, {"num_train_timesteps": "1000"}),
    "schedule-as-a-flag": (SCHEDULER, {"num_train_timesteps": True}),
    "schedule-of-nan": (SCHEDULER, {"beta_start": NAN}),
    "schedule-of-infinity": (SCHEDULER, {"beta_end": INFINITY}),
    "schedule-below-nothing": (SCHEDULER, {"beta_start": -1.0}),
    "schedule-of-many-betas": (SCHEDULER, {"trained_betas": [0.01] * 200_000}),
    "schedule-shift": (SCHEDULER, {"steps_offset": 10**9}),
    "words-without-end": (WORDS, {"model_max_length": 10**9}),
    "words-below-nothing": (WORDS, {"model_max_length": -(10**9)}),
    "words-of-t5": (WORDS, {"extra_ids": 10**9}),
    "padding": (TOKENIZER, {"padding": {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_id": 0}}),
    "truncation": (TOKENIZER, {"truncation": {"max_length": 10**12, "stride": 0, "strategy": "LongestFirst"}}),
    "tokenizer-of-no-kind": (TOKENIZER, {"model": {"type": "Python", "code": "import os"}}),
    "pipeline-of-no-library": (INDEX, {"_class_name": "os.system"}),
    "pipeline-of-code": (INDEX, {"_class_name": ["pipeline", "Mine"]}),
    "pipeline-outside": (INDEX, {"../outside": ["diffusers", "UNet2DConditionModel"]}),
    "pipeline-from-the-root": (INDEX, {"/tmp": ["transformers", "CLIPTextModel"]}),
    "part-of-another-library": (INDEX, {"unet": ["os", "system"]}),
    "part-of-a-module": (INDEX, {"unet": ["importlib", "import_module"]}),
    "part-of-a-relative-module": (INDEX, {"unet": ["..unet", "Mine"]}),
    "part-that-is-no-network": (INDEX, {"unet": ["diffusers", "DiffusionPipeline"]}),
    "part-that-is-a-function": (INDEX, {"unet": ["transformers", "pipeline"]}),
    "part-of-any-class": (INDEX, {"text_encoder": ["transformers", "AutoModel"]}),
    "part-that-is-missing": (INDEX, {"unet": ["diffusers", "NoSuchModel"]}),
    "part-as-a-table": (INDEX, {"unet": ["diffusers", {"class": "UNet2DConditionModel"}]}),
}
"""What differs from a good folder, by the name of the new one: the file, and the keys that change."""

TEXTS = {
    "key-twice": (UNET, '{"_class_name": "UNet2DConditionModel", "layers_per_block": 1, "layers_per_block": 1000000}'),
    "index-key-twice": (INDEX, '{"_class_name": "StableDiffusionPipeline", "_class_name": ["pipeline", "Mine"]}'),
    "infinite-by-digits": (SCHEDULER, '{"_class_name": "DDIMScheduler", "beta_end": 1e999}'),
    "digits-without-end": (UNET, '{"layers_per_block": ' + "9" * 5_000 + "}"),
    "brackets-without-end": (TEXT, "[" * 100_000),
    "tables-without-end": (VAE, '{"a":' * 50_000),
    "brackets-of-a-tokenizer": (TOKENIZER, '{"model": ' + "[" * 100_000),
    "lists-of-nothing": (UNET, '{"a": [' + "[]," * 1_000_000 + "[]]}"),
    "no-utf-8": (UNET, b'{"a": "\xff\xfe"}'),
    "large-file": (UNET, '{"a": "' + "x" * 5_000_000 + '"}'),
    "a-list": (SCHEDULER, "[]"),
    "a-text": (TEXT, '"layers"'),
    "nothing": (VAE, ""),
    "yaml": (UNET, "!!python/object/apply:os.system ['touch ran']"),
}
"""Files that are no plain JSON tables, by the name of the folder: the file, and its whole text."""

HARMLESS = {
    "network-of-code": (UNET, {"auto_map": {"AutoModel": "code.Mine"}}),
    "text-of-code": (TEXT, {"auto_map": {"AutoConfig": "code.Mine", "AutoModel": "code.Mine"}}),
    "text-of-code-from-the-hub": (TEXT, {"auto_map": {"AutoModel": "owner/repository--code.Mine"}}),
    "words-of-code": (WORDS, {"auto_map": {"AutoTokenizer": ["code.Mine", None]}}),
    "named-after-a-hub-model": (TEXT, {"_name_or_path": "owner/another-model"}),
    "trusting-itself": (TEXT, {"trust_remote_code": True}),
    "template-of-code": (
        WORDS,
        {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}{% for i in range(10**9) %}{% endfor %}"},
    ),
    "words-of-no-length": (WORDS, {"model_max_length": -1}),
    "words-without-a-limit": (WORDS, {"model_max_length": 10**30}),
    "classes-by-name": (TEXT, {"id2label": {str(number): f"LABEL_{number}" for number in range(1_000)}}),
    "unknown-key": (UNET, {"training_step": 1_500_000}),
}
"""Changes without effect: such folders load, and no code runs."""


def write_configurations(folder, base):
    """A copy of the pipeline folder `base` for each entry of CHANGES and TEXTS."""
    for name, (file, changes) in CHANGES.items():
        _changed(base, folder / f"config-{name}", file, changes)
    for name, (file, text) in TEXTS.items():
        shutil.copytree(base, folder / f"config-{name}")
        (folder / f"config-{name}" / file).write_bytes(text if isinstance(text, bytes) else text.encode())


def write_configurations_of_pickles(folder, base):
    """The same where weights are pickled, so that no header bounds the numbers."""
    for name in ("layers", "channels", "channels-that-fit-no-tensor", "layers-times-layers"):
        copy = _changed(base, folder / f"config-pickled-{name}", *CHANGES[name])
        weights = copy / "unet/diffusion_pytorch_model.safetensors"
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()


def write_harmless(folder, base, marker):
    """A copy of `base` for each entry of HARMLESS, with code beside every configuration; returns their paths."""
    copies = [_changed(base, folder / name, file, changes) for name, (file, changes) in HARMLESS.items()]
    for path in [path for copy in copies for path in copy.rglob("*config.json")]:
        (path.parent / "code.py").write_text(f"open({str(marker)!r}, 'w')")
    return copies


def _changed(base, copy, file, changes):
    shutil.copytree(base, copy)
    table = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(table | changes))
    return copy
