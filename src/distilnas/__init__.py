"""Neural architecture search by knowledge distillation.

The parts are imported from where they live, e.g. ``from distilnas.space import SearchSpace``. Importing ``distilnas``
itself is cheap, torch and timm are not loaded. It does one thing: it sees to it that timm knows our networks
(``timm.create_model('dna_a')``), at once where timm is loaded, else as soon as somebody imports it.
"""

import contextlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from distilnas.version import __version__

__all__ = ["__version__"]


class _TimmFinder(MetaPathFinder):
    """Lets the other finders find timm and wraps the loader they return; once timm is loaded, it removes itself.

    Asking where timm is, without importing it (``importlib.util.find_spec``), changes nothing.
    """

    def __init__(self) -> None:
        self._search = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The others' answer for timm, None for any other module and for the question to the others itself."""
        if fullname != "timm" or getattr(self._search, "running", False):
            return None
        self._search.running = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._search.running = False
        if spec and spec.loader:
            spec.loader = _TimmLoader(spec.loader, self)
        return spec


class _TimmLoader(Loader):
    """timm's own loader; afterwards our networks are registered."""

    def __init__(self, loader: Loader, finder: _TimmFinder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As timm's own."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load timm as if we were not there, then register. Where it fails, the next attempt finds us again."""
        assert module.__spec__
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        with contextlib.suppress(ValueError):  # another thread was quicker
            sys.meta_path.remove(self._finder)
        _register()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _register() -> None:
    """Idempotent, because a module is imported once."""
    try:
        for module in ("registration", "darts.registry", "cifar_resnet"):
            importlib.import_module(f"distilnas.networks.{module}")
    except Exception:  # somebody else's import of timm must not fail because of us
        logging.getLogger(__name__).warning("distilnas's networks could not be registered in timm", exc_info=True)


if "timm" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _TimmFinder())
