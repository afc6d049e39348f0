"""Students as files that need no training code."""

from distilnas.export.int8 import export_int8, onnx_top1
from distilnas.export.onnx import OPSETS, OnnxReport, export_onnx

__all__ = ["OPSETS", "OnnxReport", "export_int8", "export_onnx", "onnx_top1"]
