"""TV-L1 optical flow on any device that torch has, many pairs at once: what OpenCV's packages have for CPUs alone.

    pyramid ──► coarsest scale first: warp, then alternate  v: where rho is small along its gradient (thresholding)
                                                            u: as smooth as total variation asks, near v (dual p)

Papers: Zach, Pock and Bischof, A Duality Based Approach for Realtime TV-L1 Optical Flow, 2007; the constants are those
of Sánchez, Meinhardt-Llopis and Facciolo, TV-L1 Optical Flow Estimation, IPOL 2013, for grey levels 0 to 255.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE_LEAST = 16
"""Of the coarsest scale, in pixels."""
TAU, LAMBDA, THETA = 0.25, 0.15, 0.3


def tvl1(first: Tensor, second: Tensor, *, scales: int = 5, warps: int = 5, iterations: int = 30) -> Tensor:
    """Flow (N, 2, H, W) in pixels, x and y, from each of N images to its partner; N pairs cost few more calls than one.

    Args:
      first, second: (N, H, W), grey levels 0 to 255, any dtype.
      scales: of the pyramid at most, each half as large as the one before.
      warps: of the second image at each scale.
      iterations: between two warps.
    """
    pyramid = [(first.float()[:, None], second.float()[:, None])]
    while len(pyramid) < scales and min(pyramid[-1][0].shape[-2:]) >= 2 * SIDE_LEAST:
        one, other = (F.interpolate(each, scale_factor=0.5, mode="area") for each in pyramid[-1])
        pyramid.append((one, other))
    flow = first.new_zeros((len(first), 2, *pyramid[-1][0].shape[-2:]), dtype=torch.float32)
    for one, other in reversed(pyramid):
        size = one.shape[-2:]
        if flow.shape[-2:] != size:
            ratio = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])[:, None, None]
            flow = ratio * F.interpolate(flow, size, mode="bilinear", align_corners=False)
        flow = _at_one_scale(one, other, flow, warps, iterations)
    return flow


def _at_one_scale(first: Tensor, second: Tensor, flow: Tensor, warps: int, iterations: int) -> Tensor:
    dual = flow.new_zeros((len(flow), 2, 2, *flow.shape[-2:]))  # of x and of y, its slope across and down
    for _ in range(warps):
        warped = _warp(torch.cat([second, _slope(second)], 1), flow)
        image, slope = warped[:, :1], warped[:, 1:]
        square = (slope * slope).sum(1, keepdim=True).clamp_min(1e-6)
        still = image - (slope * flow).sum(1, keepdim=True) - first
        for _ in range(iterations):
            rho = still + (slope * flow).sum(1, keepdim=True)
            # Zach et al., proposition 3: a full step, or as far as makes rho 0.
            step = (-rho / square).clamp(-LAMBDA * THETA, LAMBDA * THETA)
            flow = flow + step * slope + THETA * _divergence(dual)
            ahead = _ahead(flow)
            length = (ahead * ahead).sum(2, keepdim=True).sqrt()
            dual = (dual + (TAU / THETA) * ahead) / (1 + (TAU / THETA) * length)
    return flow


def _warp(images: Tensor, flow: Tensor) -> Tensor:
    """Images (N, C, H, W) read where the flow leads; at the border beyond it."""
    height, width = flow.shape[-2:]
    down, across = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    x, y = (flow[:, 0] + across) * (2 / max(width - 1, 1)) - 1, (flow[:, 1] + down) * (2 / max(height - 1, 1)) - 1
    return F.grid_sample(images, torch.stack([x, y], -1), padding_mode="border", align_corners=True)


def _slope(image: Tensor) -> Tensor:
    """Central differences (N, 2, H, W) of images (N, 1, H, W)."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    across = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
    down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
    return torch.cat([across, down], 1)


def _ahead(flow: Tensor) -> Tensor:
    """Differences to the next pixel (N, 2, 2, H, W), 0 behind the last."""
    across = F.pad(flow[..., 1:] - flow[..., :-1], (0, 1))
    down = F.pad(flow[..., 1:, :] - flow[..., :-1, :], (0, 0, 0, 1))
    return torch.stack([across, down], 2)


def _divergence(dual: Tensor) -> Tensor:
    """Of (N, 2, 2, H, W), the negative adjoint of `_ahead`, (N, 2, H, W)."""
    across, down = dual[:, :, 0], dual[:, :, 1]
    across = across - F.pad(across[..., :-1], (1, 0))
    return across + down - F.pad(down[..., :-1, :], (0, 0, 1, 0))
