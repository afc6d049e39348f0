"""Neural architecture search by knowledge distillation.

::

    import distilnas

    result = distilnas.shrink("mobilenetv2_100", images="photos", macs="40%")
    result.student, result.summary, result.report()

``shrink`` and ``run`` do whole runs; all other parts are imported from where they live, e.g. ``from distilnas.space
import SearchSpace``. Importing ``distilnas`` itself changes nothing in the process and loads neither torch nor timm.
For timm's ``timm.create_model('dna_a')`` import ``distilnas.networks``, which registers our networks there.
"""

from distilnas.api import run, shrink
from distilnas.result import Result
from distilnas.version import __version__

__all__ = ["Result", "__version__", "run", "shrink"]
