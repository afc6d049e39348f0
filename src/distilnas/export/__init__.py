"""Students as files that need no training code."""

from distilnas.export.int8 import export_int8, onnx_top1
from distilnas.export.onnx import OPSETS, OnnxReport, export_onnx
from distilnas.export.program import export_program

__all__ = ["OPSETS", "OnnxReport", "export_int8", "export_onnx", "export_program", "onnx_top1"]
