"""ATOM (Attention Mixer for Efficient Dataset Distillation, arXiv 2405.01373) in one file, to be read in one sitting.

    python examples/atom_in_one_file.py [digits|cifar10|cifar100] [--steps 50] [--ipc 1] [--epochs 200]

Synthetic images S are optimized until networks with random weights attend to the same things in them as in the real
images T. Block l of a network, l = 1..L, has feature maps f_l of C_l channels and H_l x W_l places; the maps of the
last block, pooled, are the embedding e. The paper's equations, by the numbers that are used below; k is a class:

    (1) spatial attention   s_l = vec(sum over c of |f_l[c, :, :]|^4), divided by its L2 norm, for each image
    (2) channel attention   c_l = sum over h, w of |f_l[:, h, w]|^4, divided by its L2 norm, for each image
    (3) distance            d_k(v) = |mean of v over T_k - mean of v over S_k|^2
    (4) loss                100 * sum over k of (sum over l < L of (d_k(s_l) + d_k(c_l)) + 0.01 * d_k(e))

The package computes the same (a test compares them), several times faster (its benchmarks time it against this file).
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import atom_distill as ad

SPATIAL_POWER = CHANNEL_POWER = 4
TASK_BALANCE = 0.01  # lambda, the weight of the embedding; 0.02 for images of 64x64 and larger
LOSS_SCALE = 100  # of the published code: without it, an image learning rate of 1 hardly moves the images
OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
Draw = tuple[str, Sequence[float]]  # of an augmentation: the operation, and three numbers in [0, 1) for it


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, instance norm and ReLU, each followed by 2x2 average pooling; a linear classifier."""

    def __init__(self, image_shape: Sequence[int], num_classes: int, depth: int = 3, width: int = 128) -> None:
        super().__init__()
        channels, side, _ = image_shape
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            norm = nn.GroupNorm(width, width)  # what the papers call InstanceNorm; it has a scale and a shift
            self.blocks.append(nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU()))
            channels, side = width, side // 2
        self.classifier = nn.Linear(width * side * side, num_classes)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps f_1..f_L, each [n, C_l, H_l, W_l] before its pooling, and the embedding e, [n, D]."""
        maps: list[Tensor] = []
        for block in self.blocks:
            maps.append(block(images))
            images = F.avg_pool2d(maps[-1], 2)
        return maps, images.flatten(1)


def random_draw() -> Draw:
    """Draw an operation and its numbers."""
    return OPERATIONS[int(torch.randint(len(OPERATIONS), ()))], torch.rand(3).tolist()


def augment(images: Tensor, draw: Draw) -> Tensor:
    """Apply one draw of Differentiable Siamese Augmentation (DSA, ICML 2021) to all images [n, C, H, W] alike."""
    side, (operation, (u, v, w)) = images.shape[-1], draw
    match operation:
        case "color":  # brightness, then saturation around each pixel's gray, then contrast around the image's mean
            images = images + (u - 0.5)
            images = torch.lerp(images.mean(1, keepdim=True), images, 2 * v)
            return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, w + 0.5)
        case "crop":  # a shift by up to an eighth of the side
            pad = int(side / 8 + 0.5)
            top, left = int(u * (2 * pad + 1)), int(v * (2 * pad + 1))
            return F.pad(images, [pad] * 4)[:, :, top : top + side, left : left + side]
        case "cutout":  # a square of zeros, half as wide as the image and centered anywhere on it
            square = int(side / 2 + 0.5)
            top, left = (int(number * (side + 1 - square % 2)) - square // 2 for number in (u, v))
            mask = torch.ones_like(images[:1, :1])
            mask[:, :, max(top, 0) : top + square, max(left, 0) : left + square] = 0
            return images * mask
        case "flip":
            return images.flip(3) if u < 0.5 else images
        case "scale":  # x and y by factors of their own, from 1 / 1.2 to 1.2
            x, y = (1 / 1.2 + number * (1.2 - 1 / 1.2) for number in (u, v))
            matrix = [[x, 0, 0], [0, y, 0]]
        case "rotate":  # by up to 15 degrees either way
            angle = math.radians(30 * (u - 0.5))
            matrix = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]
    grid = F.affine_grid(images.new_tensor(matrix).expand(len(images), 2, 3), list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)  # bilinear, zeros around the image


def spatial_attention(maps: Tensor) -> Tensor:
    """Return where each image responds, equation (1): maps [n, C, H, W] give [n, H * W]."""
    return F.normalize(maps.abs().pow(SPATIAL_POWER).sum(1).flatten(1))


def channel_attention(maps: Tensor) -> Tensor:
    """Return which channels respond to each image, equation (2): maps [n, C, H, W] give [n, C]."""
    return F.normalize(maps.abs().pow(CHANNEL_POWER).sum((2, 3)))


def distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return equation (3) for one statistic of a class's real images [n, D] and synthetic images [ipc, D]."""
    return (real.mean(0) - synthetic.mean(0)).square().sum()


def distillation_loss(network: ConvNet, real: Sequence[Tensor], synthetic: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Return equation (4) for real images, a batch per class, and synthetic images [K, ipc, C, H, W]."""
    loss = synthetic.new_zeros(())
    for real_k, synthetic_k, draw in zip(real, synthetic, draws, strict=True):
        with torch.no_grad():  # siamese: one draw for all images of a class, so that their means stay comparable
            maps_real, embedding_real = network(augment(real_k, draw))
        maps_syn, embedding_syn = network(augment(synthetic_k, draw))
        for f_real, f_syn in zip(maps_real[:-1], maps_syn[:-1], strict=True):  # the embedding stands for the last block
            loss = loss + distance(spatial_attention(f_real), spatial_attention(f_syn))
            loss = loss + distance(channel_attention(f_real), channel_attention(f_syn))
        loss = loss + TASK_BALANCE * distance(embedding_real, embedding_syn)
    return LOSS_SCALE * loss


def distill(
    real: Sequence[Tensor], synthetic: Tensor, new_network: Callable[[], ConvNet], steps: int, batch_real: int = 128
) -> Iterator[float]:
    """Optimize the synthetic images in place, given all real images of every class; yield the loss of each step."""
    optimizer = torch.optim.SGD([synthetic], lr=1.0, momentum=0.5)  # lr 10 above 50 images per class
    for _ in range(steps):
        network = new_network().to(synthetic.device).requires_grad_(False)  # random weights, never trained
        batches = [images[torch.randperm(len(images))[:batch_real]] for images in real]
        draws = [random_draw() for _ in real]
        loss = distillation_loss(network, batches, synthetic, draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def accuracy(network: ConvNet, images: Tensor, labels: Tensor, test: tuple[Tensor, Tensor], epochs: int) -> float:
    """Train a network on a few images, all in one batch, and return its accuracy on test images, in percent."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for _ in range(epochs):
        _, embedding = network(augment(images, random_draw()))
        loss = F.cross_entropy(network.classifier(embedding), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        predicted = [network.classifier(network(part)[1]).argmax(1) for part in test[0].split(256)]
    return 100 * (torch.cat(predicted) == test[1]).float().mean().item()


def main() -> None:
    """Distill a data set; train one network on the result, and one on the real images that it started from."""
    parser = argparse.ArgumentParser(description="Distill a data set with ATOM, and train on the result.")
    parser.add_argument("dataset", nargs="?", choices=["digits", "cifar10", "cifar100"], default="digits")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ipc", type=int, default=1, help="images per class")
    parser.add_argument("--epochs", type=int, default=200, help="of the networks that are tested at the end")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    dataset = ad.load_dataset(options.dataset)
    # Random real images, to start from and to compare with; and what preprocesses them, for CIFAR ZCA whitening.
    start = ad.distill(dataset, ipc=options.ipc, method="random", show_progress=False)
    preprocess, (pixels, labels) = start.preprocessing.apply, (dataset.train.images, dataset.train.labels)
    real = [preprocess(pixels[labels == k]).to(device) for k in range(dataset.num_classes)]
    synthetic = start.images.to(device).unflatten(0, (-1, options.ipc)).clone().requires_grad_()
    new_network = partial(ConvNet, dataset.image_shape, dataset.num_classes)
    for step, loss in enumerate(distill(real, synthetic, new_network, options.steps), start=1):
        if step == options.steps or step % 10 == 0:
            print(f"step {step}: loss {loss:.1f}", flush=True)

    test = preprocess(dataset.test.images).to(device), dataset.test.labels.to(device)
    for name, images in ("random real images", start.images), ("ATOM", synthetic.detach().flatten(0, 1)):
        percent = accuracy(new_network().to(device), images.to(device), start.labels.to(device), test, options.epochs)
        print(f"{name}: {percent:.1f} % test accuracy")


if __name__ == "__main__":
    main()
