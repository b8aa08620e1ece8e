# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training steps of a network of anas in PyTorch: the peer of compare_torch.sh and compare_losses.sh.

    torch_train.py speed NET.mlir [--batch 128] [--threads 2] [--layout nchw|nhwc] [--seconds 10]
        images/s of steps on one random batch (forward, cross entropy, backward, SGD with momentum and weight decay),
        as JSON
    torch_train.py start IN.safetensors OUT.safetensors [--draw-zeros]
        the weights of IN without optimizer state; --draw-zeros: random numbers for weights that are all zeros
    torch_train.py losses NET.mlir --weights FILE --data DIR [--batch 128] [--steps 50] [--lr 0.01] [--limit N]
                   [--validation N] [--optimizer NAME] [--clip-norm X] [--double | --autocast]
        the loss of every step on CIFAR-10's images in their order, as one JSON array; --double: in double precision;
        --autocast: with operands of convolutions and products in bf16
    torch_train.py gradient NET.mlir --weights FILE --data DIR --gradient FILE ...
        how far anas's gradient of the first batch (momentum of FILE) and PyTorch's are from PyTorch's in double precision:
        norm of the difference by norm of the gradient, of all weights together and of the worst tensor, as JSON
"""
import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import torch_network


class RMSProp(torch.optim.Optimizer):
    """epsilon under the root, decoupled decay: torch.optim.RMSprop has it beside the root."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for p in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            second = self.state[p].setdefault("second", torch.zeros_like(p))
            second.mul_(0.9).addcmul_(p.grad, p.grad, value=0.1)
            p.add_(p.grad / (second + 1e-3).sqrt() + 1e-5 * p, alpha=-self.param_groups[0]["lr"])


def optimizer(network, rate, name="sgd"):
    """anas's defaults."""
    if name == "adam":
        kernels = [p for n, p in network.named_parameters() if "kernel" in n]
        others = [p for n, p in network.named_parameters() if "kernel" not in n]
        return torch.optim.AdamW([{"params": kernels, "weight_decay": 1e-2}, {"params": others, "weight_decay": 0.0}],
                                 lr=rate)
    if name == "rmsprop":
        return RMSProp(network.parameters(), rate)
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)


def step(network, sgd, images, labels, autocast=False, clip_norm=0.0):
    sgd.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = network(images)
    loss = F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels)
    loss.backward()
    if clip_norm:
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    sgd.step()
    return loss


def read(path):
    with open(path) as file:
        return file.read()


def speed(args):
    network = torch_network.Network(read(args.net))
    height, width, channels = network.functions["main"][0].operand_shapes[0][1:]
    classes = next(op for op in reversed(network.functions["main"]) if isinstance(op, torch_network.Op)).shape[-1]
    images = torch.randn(args.batch, channels, height, width)
    labels = torch.randint(0, classes, (args.batch,))
    if args.layout == "nhwc":
        network, images = network.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    sgd, seconds, start = optimizer(network, 1e-3), [], time.monotonic()
    step(network, sgd, images, labels)
    while len(seconds) < 3 or time.monotonic() - start < args.seconds:
        begin = time.perf_counter()
        step(network, sgd, images, labels)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"images_per_second": args.batch / float(np.median(seconds)), "steps": len(seconds),
                      "layout": args.layout, "threads": args.threads, "torch": torch.__version__}))


def start(args):
    random = np.random.default_rng(0)
    tensors = torch_network.load_tensors(args.source)
    for name, value in tensors.items():
        if args.draw_zeros and ":" not in name and not value.any() and name.rsplit("/", 1)[1] in ("kernel", "scale", "bias", "offset"):
            tensors[name] = random.normal(0.0, 0.05, value.shape).astype(np.float32)
    torch_network.save_tensors(args.target, {n: v for n, v in tensors.items() if ":" not in n})


def cifar10(directory, validation, limit):
    """Training images as anas normalises them (batch, 3, 32, 32), and labels."""
    parts = [np.fromfile(os.path.join(directory, "data_batch_%d.bin" % i), np.uint8).reshape(-1, 3073) for i in range(1, 6)]
    rows = np.concatenate(parts)
    rows = rows[:len(rows) - validation][:limit]
    pixels = rows[:, 1:].reshape(-1, 3, 32, 32)
    sums = pixels.astype(np.float64)
    mean, deviation = (sums.mean((0, 2, 3)) / 255).astype(np.float32), (sums.std((0, 2, 3)) / 255).astype(np.float32)
    images = (pixels.astype(np.float32) / 255 - mean[:, None, None]) / deviation[:, None, None]
    return torch.from_numpy(images), torch.from_numpy(rows[:, 0].astype(np.int64))


def losses(args):
    images, labels = cifar10(args.data, args.validation, args.limit)
    if args.double:
        torch.set_default_dtype(torch.float64)
        images = images.double()
    network = torch_network.Network(read(args.net), dropout=False)
    network.load(torch_network.load_tensors(args.weights))
    sgd, result, epoch = optimizer(network, args.lr, args.optimizer), [], len(images) // args.batch
    for i in range(args.steps):
        at = i % epoch * args.batch
        result.append(step(network, sgd, images[at:at + args.batch], labels[at:at + args.batch], args.autocast,
                           args.clip_norm).item())
    print(json.dumps(result))


def norm(tensors):
    return np.sqrt(sum((t.astype(np.float64) ** 2).sum() for t in tensors))


def gradient(args):
    """Gradients of the first batch, with weight decay, in single and double precision, by anas's names."""
    weights, ours = torch_network.load_tensors(args.weights), torch_network.load_tensors(args.gradient)
    images, labels = cifar10(args.data, args.validation, args.limit)
    found = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        network = torch_network.Network(read(args.net), dropout=False)
        network.load(weights)
        F.cross_entropy(network(images[:args.batch].to(dtype)), labels[:args.batch]).backward()
        found.append({key: (weight.grad + 1e-4 * weight.detach()).numpy() for key, weight in network.weights.items()})
    theirs, exact = found
    mine = {}
    for name, value in ours.items():
        if name.endswith(":momentum"):
            key = network.key(name[:-len(":momentum")])
            if key.endswith("|kernel"):
                value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
            mine[key] = value
    result, total = {}, norm(exact.values())
    for side, tensors in (("ours", mine), ("torch", theirs)):
        # Some gradients are zero but for rounding: offsets that a normalisation takes away again.
        each = {k: norm([tensors[k] - exact[k]]) / norm([exact[k]]) for k in exact if norm([exact[k]]) > 1e-3 * total}
        worst = max(each, key=each.get)
        result[side] = {"all": norm([tensors[k] - exact[k] for k in exact]) / total, "worst": each[worst],
                        "tensor": worst.replace("|", "/")}
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("speed", "losses", "gradient"):
        p = commands.add_parser(name)
        p.add_argument("net")
        p.add_argument("--batch", type=int, default=128)
        p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
        if name == "speed":
            p.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw")
            p.add_argument("--seconds", type=float, default=10)
        else:
            p.add_argument("--weights", required=True)
            p.add_argument("--data", required=True)
            p.add_argument("--double", action="store_true")
            p.add_argument("--autocast", action="store_true")
            p.add_argument("--steps", type=int, default=50)
            p.add_argument("--lr", type=float, default=0.01)
            p.add_argument("--optimizer", choices=("sgd", "adam", "rmsprop"), default="sgd")
            p.add_argument("--clip-norm", type=float, default=0.0)
            p.add_argument("--limit", type=int, default=None)
            p.add_argument("--validation", type=int, default=10000)
        if name == "gradient":
            p.add_argument("--gradient", required=True)
    p = commands.add_parser("start")
    p.add_argument("source")
    p.add_argument("target")
    p.add_argument("--draw-zeros", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(getattr(args, "threads", 1))
    {"speed": speed, "start": start, "losses": losses, "gradient": gradient}[args.command](args)


if __name__ == "__main__":
    main()
