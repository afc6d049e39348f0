"""``distilnas doctor``: is this machine fit, and what is on it."""

import shutil

from distilnas.cli.console import JsonOption, VerboseOption, print_json


def doctor(json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """Versions, device, memory and disk of this machine."""
    import os

    import torch

    from distilnas.runtime.device import Device
    from distilnas.runtime.provenance import provenance

    device = Device()
    record = provenance(seed=0, config_hash="", device=device.name)
    del record["seed"], record["config_hash"]
    record["cores"] = os.cpu_count()
    record["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    record["disk_free_gb"] = round(shutil.disk_usage(".").free / 2**30, 1)
    record["bf16"] = (
        bool(torch.cuda.is_bf16_supported()) if torch.cuda.is_available() else "avx512_bf16" in _cpu_flags()
    )
    if json:
        print_json(record)
    else:
        print("\n".join(f"{key:14s} {value}" for key, value in record.items()))


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return file.read()
    except OSError:
        return ""
