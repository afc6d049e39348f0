"""Students as files that need no training code."""

from distilnas.export.onnx import OnnxReport, export_onnx

__all__ = ["OnnxReport", "export_onnx"]
