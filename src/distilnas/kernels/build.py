"""The compiled kernels: built from our shipped source at first use, kept per user, shared by all processes."""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SWITCH = "DISTILNAS_KERNELS"
_COMPILERS = ("g++", "clang++")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC")
_SECONDS = 600
_log = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none: then PyTorch's own are to be used.

    They are compiled once per source and processor into ``~/.cache/distilnas/kernels`` (``XDG_CACHE_HOME``) with the
    first of g++ and clang++ on the PATH. The environment variable ``DISTILNAS_KERNELS=off`` turns them off. Never
    raises; why there are none is logged once.
    """
    if os.environ.get(SWITCH) == "off":
        _log.info("fast kernels are turned off by %s", SWITCH)
        return None
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        detail = getattr(error, "stderr", None) or error
        _log.info("PyTorch's own kernels are used, no faster ones could be compiled: %s", detail)
        return None


def _built() -> Path:
    """The compiled file; made where it is missing."""
    sources = sorted(p for p in Path(__file__).parent.iterdir() if p.suffix in (".cpp", ".h"))
    parts = [*(source.read_bytes() for source in sources), " ".join(_FLAGS).encode(), _processor().encode()]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    folder = _cache()
    target = folder / f"kernels-{digest[:16]}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            _compile([source for source in sources if source.suffix == ".cpp"], Path(aside) / target.name)
            os.replace(Path(aside) / target.name, target)  # several processes may race: each file is whole
    return target


def _compile(sources: list[Path], output: Path) -> None:
    """All sources at the same time, into one library."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise RuntimeError(f"no compiler ({' or '.join(_COMPILERS)}) on the PATH")
    _log.info("compiling the fast kernels with %s", compiler)
    objects = [output.parent / f"{source.stem}.o" for source in sources]
    commands = [[compiler, *_FLAGS, "-c", str(f), "-o", str(to)] for f, to in zip(sources, objects, strict=True)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_run, commands))
    _run([compiler, *_FLAGS, "-shared", *map(str, objects), "-o", str(output)])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distilnas" / "kernels"


def _processor() -> str:
    """What ``-march=native`` depends on; a home folder may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
