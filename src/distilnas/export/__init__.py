"""Students as files that need no training code."""

from distilnas.export.onnx import OPSETS, OnnxReport, export_onnx

__all__ = ["OPSETS", "OnnxReport", "export_onnx"]
