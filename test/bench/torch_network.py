# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A network in anas's MLIR form as a PyTorch module: same layers, same definitions, same names of parameters.

Reads the text that anas-zoo prints, and weights in safetensors format (read and written here; no package needed).
Images are (batch, channels, height, width) inside, as PyTorch likes them; everything else has anas's channel-last shape.
"""
import json
import math
import re

import numpy as np
import torch
import torch.nn.functional as F

# ---- safetensors: 8 bytes length of the header, the header in JSON, data


def load_tensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    assert all(entry["dtype"] == "F32" for entry in header.values()), "only F32 is known here"
    return {name: np.frombuffer(data[entry["data_offsets"][0]:entry["data_offsets"][1]], np.float32)
            .reshape(entry["shape"]).copy() for name, entry in header.items()}


def save_tensors(path, tensors):
    header, chunks, at = {}, [], 0
    for name, value in tensors.items():
        chunk = np.ascontiguousarray(value, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + len(chunk)]}
        chunks.append(chunk)
        at += len(chunk)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(chunks))


# ---- reading the text

FUNCTION = re.compile(r"func\.func (?:private )?@(\w+)\(")
OP = re.compile(r'%(\w+) = "anas\.(\w+)"\((.*?)\)(?: \{(.*)\})? : \((.*)\) -> tensor<(.*)>$')
CALL = re.compile(r"%(\w+) = (?:func\.)?call @(\w+)\(%(\w+)\)")
RETURN = re.compile(r"return %(\w+)")


def attribute(text):
    """Value of one attribute; what the result type says anyway (symbolic features) stays text."""
    text = text.strip()
    if text.startswith("array<"):
        return [int(v) for v in text[text.index(":") + 1:-1].split(",")]
    if text.startswith('"'):
        return text[1:-1]
    number = text.split(" : ")[0]
    if number in ("true", "false"):
        return number == "true"
    try:
        return int(number)
    except ValueError:
        try:
            return float(number)
        except ValueError:
            return text


def attributes(text):
    """name = value pairs, separated by commas outside of brackets and quotes."""
    result, depth, quoted, item = {}, 0, False, ""
    for c in (text or "") + ",":
        quoted ^= c == '"'
        if not quoted:
            depth += (c in "([<") - (c in ")]>" and not item.endswith("-"))
        if c == "," and not quoted and depth == 0:
            if item.strip():
                name, value = item.split("=", 1)
                result[name.strip()] = attribute(value)
            item = ""
        else:
            item += c
    return result


def shape(text):
    return [-1 if d == "?" else int(d) for d in text.split("x")[:-1]]


class Op:
    def __init__(self, result, name, operands, attrs, types, result_type, function):
        self.result, self.name, self.attrs = result, name, attrs
        self.operands = [o.strip()[1:] for o in operands.split(",") if o.strip()]
        self.operand_shapes = [shape(t) for t in re.findall(r"tensor<(.*?)>", types)]
        self.shape = shape(result_type)
        self.path = function + "/" + attrs["anas.name"] if "anas.name" in attrs else None


def parse(text):
    functions = {}
    for line in text.splitlines():
        line = line.strip()
        if match := FUNCTION.search(line):
            name = match.group(1)
            ops = functions[name] = []
        elif match := OP.match(line):
            result, op, operands, attrs, types, result_type = match.groups()
            ops.append(Op(result, op, operands, attributes(attrs), types, result_type, name))
        elif match := CALL.match(line):
            ops.append(match.groups())
        elif match := RETURN.match(line):
            ops.append(match.group(1))
        elif line not in ("", "}", "module {"):
            raise ValueError("this line is in no form known here: " + line)
    return functions


# ---- the module


def pair(value, default=1):
    value = default if value is None else value
    return list(value) if isinstance(value, list) else [value, value]


def same_padding(x, window, strides):
    """left, right, top, bottom of anas's SAME: ceil(extent / stride) results, the odd position at the end."""
    result = []
    for extent, w, s in reversed(list(zip(x.shape[2:], window, strides))):
        total = max((math.ceil(extent / s) - 1) * s + w - extent, 0)
        result += [total // 2, total - total // 2]
    return result


class Network(torch.nn.Module):
    def __init__(self, text, dropout=True):
        super().__init__()
        self.functions, self.dropout = parse(text), dropout
        self.weights = torch.nn.ParameterDict()  # keys: names with | instead of / and . (which modules do not take)
        self.state = {}
        for ops in self.functions.values():
            for op in ops:
                if isinstance(op, Op) and op.path:
                    self.add_parameters(op)

    # Shapes are PyTorch's; load() converts.
    def add_parameters(self, op):
        a, features = op.attrs, op.shape[-1]
        channels = op.operand_shapes[0][-1] if op.operand_shapes else 0
        if op.name == "conv":
            groups = self.groups(op)
            self.add(op, "kernel", torch.randn(features, channels // groups, *pair(a["kernel"])) /
                     math.sqrt(channels // groups * math.prod(pair(a["kernel"]))))
        elif op.name == "dense":
            self.add(op, "kernel", torch.randn(features, channels) / math.sqrt(channels))
        elif op.name == "param":
            self.add(op, "value", torch.randn(op.shape) * 0.02)
        elif op.name in ("batch_norm", "layer_norm"):
            self.add(op, "scale", torch.ones(features))
            self.add(op, "offset", torch.zeros(features))
            self.state[op.path] = [torch.zeros(features), torch.ones(features)]
        else:
            raise ValueError("no parameters are known of anas." + op.name)
        if op.name in ("conv", "dense") and a.get("use_bias", True):
            self.add(op, "bias", torch.zeros(features))

    @staticmethod
    def key(name):
        return name.replace("/", "|").replace(".", "|")

    def add(self, op, member, value):
        self.weights[self.key(op.path + "/" + member)] = torch.nn.Parameter(value)

    def get(self, op, member):
        key = self.key(op.path + "/" + member)
        return self.weights[key] if key in self.weights else None

    @staticmethod
    def groups(op):
        groups = op.attrs.get("groups", 1)
        return groups if isinstance(groups, int) else op.operand_shapes[0][-1]  # symbolic: as many as channels

    def load(self, tensors):
        """Takes every parameter from a dictionary of arrays in anas's shapes."""
        with torch.no_grad():
            for key, weight in self.weights.items():
                value = torch.from_numpy(next(v for n, v in tensors.items() if self.key(n) == key))
                if key.endswith("|kernel"):
                    value = value.permute(3, 2, 0, 1) if value.dim() == 4 else value.t()
                weight.copy_(value)

    def forward(self, images):
        return self.call("main", images)

    def call(self, name, argument):
        ops = self.functions[name]
        values = {"arg0": argument}
        for op in ops:
            if isinstance(op, str):
                return values[op]
            if isinstance(op, tuple):
                result, callee, operand = op
                values[result] = self.call(callee, values[operand])
            else:
                values[op.result] = getattr(self, "op_" + op.name)(op, *(values[o] for o in op.operands))

    # A value is an image (channels second) if anas's type has rank 4 and it does not come from a reshape or an einsum,
    # whose results have heads, not channels: those carry the mark below.
    @staticmethod
    def mark_plain(x, plain=True):
        x.plain = plain and x.dim() == 4
        return x

    @staticmethod
    def is_image(x):
        return x.dim() == 4 and not getattr(x, "plain", False)

    @staticmethod
    def to_anas(x):
        return x.permute(0, 2, 3, 1) if Network.is_image(x) else x

    def op_conv(self, op, x):
        kernel, strides = self.get(op, "kernel"), pair(op.attrs.get("strides"))
        window, padding = list(kernel.shape[2:]), 0
        if op.attrs.get("padding", "SAME") == "SAME":
            pads = same_padding(x, window, strides)
            if pads[0] == pads[1] and pads[2] == pads[3]:
                padding = [pads[2], pads[0]]
            else:
                x = F.pad(x, pads)
        return F.conv2d(x, kernel, self.get(op, "bias"), strides, padding, pair(op.attrs.get("dilation")), self.groups(op))

    def op_dense(self, op, x):
        kernel, bias = self.get(op, "kernel"), self.get(op, "bias")
        if not self.is_image(x):
            return F.linear(x, kernel, bias)
        if x.shape[2:] == (1, 1):
            return F.linear(x.flatten(1), kernel, bias)[:, :, None, None]
        return F.conv2d(x, kernel[:, :, None, None], bias)

    def op_param(self, op):
        return self.get(op, "value")

    def op_batch_norm(self, op, x):
        mean, variance = self.state[op.path]
        return F.batch_norm(x, mean, variance, self.get(op, "scale"), self.get(op, "offset"), True,
                            1 - op.attrs.get("momentum", 0.99), op.attrs.get("epsilon", 1e-5))

    def op_layer_norm(self, op, x):
        return F.layer_norm(x, x.shape[-1:], self.get(op, "scale"), self.get(op, "offset"), op.attrs.get("epsilon", 1e-6))

    def op_relu(self, op, x):
        return F.relu(x)

    def op_swish(self, op, x):
        return F.silu(x)

    def op_sigmoid(self, op, x):
        return torch.sigmoid(x)

    def op_gelu(self, op, x):
        return F.gelu(x, approximate="tanh")

    def op_softmax(self, op, x):
        return self.mark_plain(torch.softmax(x, op.attrs.get("axis", -1)), not self.is_image(x))

    def op_scalar_mul(self, op, x):
        return self.mark_plain(x * op.attrs.get("constant", 1 / math.sqrt(op.operand_shapes[0][-1])), not self.is_image(x))

    def op_add(self, op, x, y):
        rate = op.attrs.get("layer_drop_rate", 0)
        if rate and self.dropout:
            keep = (torch.rand(x.shape[0], *[1] * (x.dim() - 1)) >= rate) / (1 - rate)
            x = x * keep
        return x + y

    def op_mul(self, op, x, y):
        return x * y

    def op_dropout(self, op, x):
        return F.dropout(x, op.attrs["rate"], self.dropout)

    def windows(self, op, x, value):
        window = [w or extent for w, extent in zip(pair(op.attrs["window"]), x.shape[2:])]
        strides = pair(op.attrs.get("strides"))
        if op.attrs.get("padding", "VALID") == "SAME" and any(pads := same_padding(x, window, strides)):
            x = F.pad(x, pads, value=value)
        return x, window, strides

    def op_max_pool(self, op, x):
        return F.max_pool2d(*self.windows(op, x, float("-inf")))

    def op_avg_pool(self, op, x):
        x, window, strides = self.windows(op, x, 0.0)
        return F.adaptive_avg_pool2d(x, 1) if list(x.shape[2:]) == window else F.avg_pool2d(x, window, strides)

    def op_mean(self, op, x):
        if op.attrs["axes"] == [1, 2] and x.dim() == 4:
            return x.mean((2, 3), keepdim=op.attrs.get("keepdims", False))
        return self.to_anas(x).mean(op.attrs["axes"], keepdim=op.attrs.get("keepdims", False))

    def op_flatten(self, op, x):
        return self.to_anas(x).reshape(x.shape[0], -1)

    def op_reshape(self, op, x):
        return self.mark_plain(self.to_anas(x).reshape(x.shape[0], *op.shape[1:]))

    def op_einsum(self, op, x, y):
        return self.mark_plain(torch.einsum(op.attrs["equation"], x, y))
