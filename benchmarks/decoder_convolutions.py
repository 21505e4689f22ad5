"""What do the decoder's two rewritten convolutions gain over the plain ones, forward and backward?

Doubling then 3×3 as four small 2×2 convolutions, and 3×3 to one map as nine folded taps, at the sizes of the attentive
network's stages, in both memory formats, taking turns. Needs torch only.

    python benchmarks/decoder_convolutions.py [--batch 2] [--repeats 7] [--device cuda]
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.reflected import convolve_reflected, reflect
from models.structure_decoder import ReflectedConvolution


def once(convolve: Callable[[Tensor], Tensor], maps: Tensor, gradient: Tensor) -> float:
    """Seconds of one pass forward and backward."""
    if maps.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    convolve(maps).backward(gradient)
    if maps.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, ours: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor], maps: Tensor, repeats: int) -> float:
    """Prints the best times of both; gives their ratio."""
    gradient = torch.ones_like(plain(maps))
    with torch.no_grad():
        torch.testing.assert_close(ours(maps), plain(maps), rtol=1e-2, atol=1e-2)
    pairs = [(once(ours, maps, gradient), once(plain, maps, gradient)) for _ in range(repeats + 1)][1:]
    best, reference = (1000 * min(times) for times in zip(*pairs, strict=True))
    print(f"{name}: {best:.1f} ms against {reference:.1f} ms, ratio {reference / best:.2f}")
    return reference / best


def main() -> None:
    """Runs all sizes; the smallest ratio last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    ratios = []
    for layout, memory_format in (("channels first", torch.contiguous_format), ("channels last", torch.channels_last)):

        def maps_of(channels: int, side: int, memory_format: torch.memory_format = memory_format) -> Tensor:
            maps = torch.rand(given.batch, channels, side, side, device=given.device)
            return maps.to(memory_format=memory_format).requires_grad_()

        for channels, side in ((256, 28), (128, 56), (64, 112)):
            layer = ReflectedConvolution(channels, channels, doubling=True, generator=None).to(given.device)

            def doubled(maps: Tensor, layer: ReflectedConvolution = layer) -> Tensor:
                return F.conv2d(reflect(F.interpolate(maps, scale_factor=2, mode="nearest")), layer.weight, layer.bias)

            name = f"doubling, {channels} maps of {side} px, {layout}"
            ratios.append(compare(name, layer, doubled, maps_of(channels, side), given.repeats))
        weight = torch.rand(1, 64, 3, 3, device=given.device, requires_grad=True)
        ratios.append(
            compare(
                f"to one map, 64 maps of 224 px, {layout}",
                lambda maps, weight=weight: convolve_reflected(maps, weight),
                lambda maps, weight=weight: F.conv2d(reflect(maps), weight),
                maps_of(64, 224),
                given.repeats,
            )
        )
    print(f"smallest ratio: {min(ratios):.2f}")


if __name__ == "__main__":
    main()
