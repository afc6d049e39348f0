"""``distilnas profile``: parameters, MACs and, on request, latency of a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilnas.cli.console import JsonOption, VerboseOption, print_json

if TYPE_CHECKING:
    from distilnas.latency import LatencySettings, Measurement

_NOTES = {
    "macs": "multiply-adds of one image: convolutions, linear layers, attention",
    "bytes": "tensors of the exported weights file",
    "peak_memory": "bytes of activations at once for one image",
    "attention_macs": "of the MACs, products of activations with activations",
    "paper_flops": "as the papers count: no attention, but biases, norms and pooling",
}


def profile(
    model: Annotated[str, typer.Argument(help="A timm or zoo name, a student folder, or an architecture file.")],
    resolution: Annotated[
        int | None, typer.Option(help="Image side in pixels; default: the model's own, else 224.")
    ] = None,
    num_classes: Annotated[int, typer.Option(help="Classes of the classifier.")] = 1000,
    latency: Annotated[bool, typer.Option("--latency", help="Also time it, in processes of their own.")] = False,
    runtime: Annotated[str, typer.Option(help="Of --latency: onnxruntime or torch.")] = "onnxruntime",
    device: Annotated[str, typer.Option(help="Of --latency: cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Of --latency.")] = 1,
    batch: Annotated[int, typer.Option(help="Of --latency: images at a time.")] = 1,
    seconds: Annotated[float, typer.Option(help="Of --latency: how long is measured.")] = 9.0,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Exact parameters and multiply-adds of a timm model, a zoo entry, a student or an architecture file."""
    from distilnas.costing import profile as count

    network, own_resolution = _build(model, num_classes)
    counts = count(network, resolution or own_resolution)
    record: dict[str, Any] = {"name": model, **counts.to_dict(), "num_classes": network.num_classes}
    if latency:
        from distilnas.latency import PROCESSES, LatencySettings, make_piece, measure

        settings = LatencySettings(runtime=runtime, device=device, threads=threads, batch=batch)  # type: ignore[arg-type]
        piece = make_piece(model, network.eval(), (3, counts.resolution, counts.resolution), settings)
        record |= _latency(measure([[piece]], settings, seconds=seconds / PROCESSES), settings)
    if json:
        print_json(record)
    else:
        print("\n".join(_line(key, value) for key, value in record.items()))


def _latency(measured: "Measurement", settings: "LatencySettings") -> dict[str, Any]:
    """Two significant digits, which is what such a measurement has, and what it was measured with."""
    found = measured.ms(0)
    median, low, high = (float(f"{ms:.2g}") for ms in (found.median, found.low, found.high))
    record = {
        "latency_ms": median,
        "latency_interval_ms": [low, high],
        "latency_runtime": f"{settings.runtime} {measured.version.partition('+')[0]}",
        "latency_device": measured.processor,
        "latency_threads": settings.threads,
        "latency_batch": settings.batch,
    }
    return record | ({"latency_doubt": measured.doubt} if measured.doubt else {})


def _line(key: str, value: Any) -> str:
    if isinstance(value, list):
        value = f"{value[0]:g} to {value[1]:g} (95 %)"
    elif isinstance(value, float):
        value = f"{value:g}"
    amount = f"{value:,}" if isinstance(value, int) else str(value)
    return f"{key:19s} {amount:15s} {_NOTES.get(key, '')}".rstrip()


def _build(name: str, num_classes: int) -> tuple[Any, int]:
    """The network and the resolution it is meant for."""
    import distilnas.networks as networks
    from distilnas.data import Preprocessing
    from distilnas.files import read_text
    from distilnas.networks.zoo import create, default_resolution
    from distilnas.space.darts import parse_architecture

    path = Path(name)
    if (path / "student.json").is_file():
        student = networks.load_student(path)
        told = student.student_config["preprocessing"]
        return student, Preprocessing.from_dict(told).resolution if "resolution" in told else 224
    if path.is_file():
        return networks.build_network(parse_architecture(read_text(path)), num_classes=num_classes), 224
    return create(name, num_classes=num_classes), default_resolution(name)
