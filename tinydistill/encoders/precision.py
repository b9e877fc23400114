"""Where models run and in which precision. Weights, losses and the optimiser stay float32."""

import contextlib

import torch

from glue_tasks.errors import UserError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device(name: str = "auto") -> torch.device:
    """Where models run: a device by name; `auto` is the accelerator if there is one, else the CPU.

    Raises UserError if there is no such device.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # torch's own message runs over many lines
        raise UserError(f"there is no device {name!r} here; use --device auto, cpu or cuda") from None
    return device


def resolve(precision: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware multiplies it (CPU: AVX512-BF16 or AMX), fp16 on older GPUs, else float32.

    Raises UserError for fp16 on a CPU.
    """
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
