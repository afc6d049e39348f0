"""The teacher: a trained network, its partition into blocks, and the frozen features that supervise the student."""

from distilnas.networks.layouts import Layout
from distilnas.teachers.blocks import TeacherBlocks
from distilnas.teachers.create import create_teacher, load_weights
from distilnas.teachers.partition import Partition, Tap, possible_taps, propose

__all__ = ["Layout", "Partition", "Tap", "TeacherBlocks", "create_teacher", "load_weights", "possible_taps", "propose"]
