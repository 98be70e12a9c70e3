"""Judges with other weights than the atelier's: random ones, constant ones, and slightly changed ones."""

import shutil


def judge_with(folder, change):
    """Copy the atelier's judge into `folder`, its weights changed by `change`; return its reference."""
    from safetensors.torch import load_file, save_file

    from dmun_audit.models.references import atelier_judge

    weights = shutil.copytree(atelier_judge(), folder) / "open_clip_model.safetensors"
    save_file(change(load_file(weights)), weights)
    return f"local-dir:{folder}"


def drawn_anew(tensors):
    """Random weights with the standard deviations of `tensors`: the embeddings mean nothing."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(tensor.shape, generator=generator) * tensor.float().std()).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for name, tensor in tensors.items()
    }


def always(label):
    """A change of weights after which every image has the embedding of the sentence `label`."""
    import torch

    from dmun_audit.judge.clip import ClipJudge

    towards = torch.from_numpy(ClipJudge("atelier:judge").embed_texts([label])[0].copy())
    last = "visual.attnpool.c_proj"
    return lambda tensors: (
        tensors
        | {
            f"{last}.weight": torch.zeros_like(tensors[f"{last}.weight"]),
            f"{last}.bias": towards.to(tensors[f"{last}.bias"].dtype),
        }
    )


def nudged(tensors):
    """Slightly changed weights: the judge agrees on most images with the original, and not on all."""
    import torch

    generator = torch.Generator().manual_seed(1)
    return {
        name: (tensor + 0.12 * tensor.float().std() * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for name, tensor in tensors.items()
    }
