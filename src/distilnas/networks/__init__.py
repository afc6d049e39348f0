"""Ops to modules, architectures to networks, networks to files; importing registers ``distilnas_student`` in timm."""

from distilnas.networks.factory import conv_norm_act, make_layer
from distilnas.networks.files import load_student, save_student
from distilnas.networks.student import StudentNet

__all__ = ["StudentNet", "conv_norm_act", "load_student", "make_layer", "save_student"]
