"""Architectures to networks, networks to files; importing registers them in timm.

After ``import distilnas.networks`` timm builds them by name: ``timm.create_model('dna_a')``.
"""

from distilnas.networks import cifar_resnet, registration  # noqa: F401 - registers their networks
from distilnas.networks.chain import ChainNet
from distilnas.networks.darts import DartsNet, build_network
from distilnas.networks.files import load_student, save_student
from distilnas.networks.student import StudentNet

__all__ = [
    "ChainNet",
    "DartsNet",
    "StudentNet",
    "build_network",
    "load_student",
    "save_student",
]
