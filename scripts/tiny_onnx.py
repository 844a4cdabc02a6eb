"""Tiny models as files: export, short names, eight-bit weights, tokens."""

import onnx
import torch

OPSET = 13


def export(module, inputs, path, names, outputs, axes, meta):
    """Writes `module` as ONNX with symbolic batch dimensions and the publisher's metadata."""
    module.eval()
    torch.onnx.export(
        module, inputs, str(path), input_names=names, output_names=outputs, opset_version=OPSET,
        dynamic_axes=axes, dynamo=False,
    )
    model = onnx.load(str(path))
    shorten(model.graph)
    for key, value in meta.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def shorten(graph):
    """Gives inner values short names: in a tiny model they would be most of the file."""
    outer = {v.name for v in list(graph.input) + list(graph.output)}
    short = {}

    def name(old):
        if old == "" or old in outer:
            return old
        return short.setdefault(old, f"v{len(short)}")

    def walk(part):
        for node in part.node:
            node.name = ""
            node.doc_string = ""
            node.input[:] = [name(i) for i in node.input]
            node.output[:] = [name(o) for o in node.output]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)
                    for value in attribute.g.output:
                        value.name = name(value.name)
        for tensor in part.initializer:
            tensor.name = name(tensor.name)
        del part.value_info[:]

    walk(graph)


def quantize(source, target):
    """The dynamic int8 quantisation that the publishers ship beside the float model."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        model_input=str(source), model_output=str(target), op_types_to_quantize=["MatMul"],
        weight_type=QuantType.QInt8,
    )


def tokens_file(path, symbols):
    path.write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)), encoding="utf-8")


def joined(values):
    return ",".join(map(str, values))
