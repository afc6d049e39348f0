"""Ops to modules, architectures to networks, networks to files; importing registers them in timm.

After ``import distilnas.networks`` timm builds them by name: ``timm.create_model('dna_a')``.
"""

from distilnas.networks import cifar_resnet, registration  # noqa: F401 - registers their networks
from distilnas.networks.darts import DartsNet, build_network
from distilnas.networks.factory import conv_norm_act, make_layer
from distilnas.networks.files import load_student, save_student
from distilnas.networks.student import StudentNet

__all__ = [
    "DartsNet",
    "StudentNet",
    "build_network",
    "conv_norm_act",
    "load_student",
    "make_layer",
    "save_student",
]
