"""The reference's network as an ONNX model in int8, one scale per channel; it knows neither where it is put nor how good it is.

Pooling and the norm are part of the model, so its only input is word pieces and its only output vectors.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from common import codec
from dispatcher.embed.errors import ExtraMissing
from dispatcher.embed.minilm import CARD, TOKENIZER
from dispatcher.embed.protocol import Tier
from dispatcher.embed.reference import ReferenceEmbedder
from dispatcher.embed.sealed import seal

OPSET = 18


def export(reference: ReferenceEmbedder) -> bytes:
    """Give the bytes of the MiniLM tier's file. Raises `ExtraMissing` without the packages of the extra `embedder`."""
    onnx, quantization = _module("onnx"), _module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory(prefix="drover-export-") as name:
        whole, small = Path(name) / "whole.onnx", Path(name) / "int8.onnx"
        _trace(reference, whole)
        quantization.quantize_dynamic(
            whole,
            small,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            # Without it a sum of 8-bit products may saturate on processors without VNNI, which the older boards and PCs are.
            reduce_range=True,
        )
        model = onnx.load(small)
    del model.metadata_props[:]
    texts = {
        TOKENIZER: (reference.directory / "tokenizer.json").read_text(encoding="utf-8"),
        CARD: codec.encode(_card(reference)).decode(),
    }
    onnx.helper.set_model_props(model, texts)
    return seal(Tier.MINILM, model.SerializeToString(deterministic=True))


def _trace(reference: ReferenceEmbedder, target: Path) -> None:
    torch = _module("torch")
    network = reference.model[0].auto_model.eval()

    class Pooled(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]  # torch is looked up at run time
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: Any) -> Any:
            hidden = self.network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            return torch.nn.functional.normalize(hidden.mean(1), dim=1)

    ids = torch.tensor([[101, 7592, 2088, 999, 102], [101, 2023, 2003, 1037, 102]])
    shapes = {"ids": {0: torch.export.Dim("texts"), 1: torch.export.Dim("pieces", min=2, max=512)}}
    with torch.inference_mode():
        program = torch.onnx.export(
            Pooled().eval(),
            (ids,),
            input_names=["ids"],
            output_names=["vectors"],
            opset_version=OPSET,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    program.save(target)


def _card(reference: ReferenceEmbedder) -> dict[str, Any]:
    return {
        "tier": str(Tier.MINILM),
        "from": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "reference": str(reference.identity),
        "made": "int8 weights with one scale per channel, activations scaled at run time",
    }


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraMissing("building an embedder", "embedder", (error.name or name).partition(".")[0]) from error
