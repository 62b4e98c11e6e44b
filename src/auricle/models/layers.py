"""How deep in a model a parameter stands, told by its name."""

import re

from torch import nn

BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")
BEFORE_BLOCKS = ("patches.", "positions.", "prefix_tokens", "stem.")


def layers_of(model: nn.Module) -> dict[str, int]:
    """The layer of every parameter of `model`, by name.

    Patch embedding (or stem), prefix tokens and positions are layer 0, the encoder's blocks 1 to
    depth, and all that follows is the one after them. Source: Bao et al. 2022 (BEiT), as released.
    A model whose authors do otherwise says with `before_blocks` what is of layer 0.
    """
    names = [name for name, _ in model.named_parameters()]
    first = getattr(model, "before_blocks", BEFORE_BLOCKS)
    blocks = {name: int(found[1]) + 1 for name in names if (found := BLOCK.match(name))}
    last = max(blocks.values(), default=0) + 1
    return {name: 0 if name.startswith(first) else blocks.get(name, last) for name in names}
