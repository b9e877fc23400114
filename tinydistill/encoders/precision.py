"""Where models run and in which precision. Weights, losses and the optimiser stay float32."""

import contextlib

import torch

from glue_tasks.errors import UserError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device() -> torch.device:
    """Where models run: the accelerator if there is one, else the CPU."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def resolve(precision: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware multiplies it (CPU: AVX512-BF16 or AMX), fp16 on older GPUs, else float32."""
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 is for GPUs; take bf16 or float32 on this processor")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
    return "float32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context in which models run at the precision."""
    return torch.autocast(device.type, dtype=_TYPES.get(precision), enabled=precision in _TYPES)
