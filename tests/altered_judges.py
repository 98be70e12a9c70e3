"""The atelier's judge with other weights: blind, seeing one thing everywhere, or merely a little different."""

import shutil


def judge_with(folder, change):
    """A copy of the atelier's judge with other weights: `change` gives them from its own."""
    from safetensors.torch import load_file, save_file

    from dmun_audit.models.references import atelier_judge

    weights = shutil.copytree(atelier_judge(), folder) / "open_clip_model.safetensors"
    save_file(change(load_file(weights)), weights)
    return f"local-dir:{folder}"


def drawn_anew(tensors):
    """Weights of the same spread, all drawn at random: embeddings that mean nothing."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(tensor.shape, generator=generator) * tensor.float().std()).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for name, tensor in tensors.items()
    }


def always(label):
    """Weights that embed every image where the sentence `label` lies."""
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
    """Weights a little off: a judge that mostly agrees, and not always."""
    import torch

    generator = torch.Generator().manual_seed(1)
    return {
        name: (tensor + 0.12 * tensor.float().std() * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for name, tensor in tensors.items()
    }
