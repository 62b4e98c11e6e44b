"""Let a trained model score soft and short sound: set `min_level_dbfs` and `padding`.

    python scripts/set_front_end.py MODEL [--dbfs -30] [--frames 200]

For models that were trained on loud sound without silence; weights stay as they are. Of what a
tagger was distilled from, one clip in eight is softer than -30 dBFS, and half last less than 2.3 s.
Clips of fewer frames are repeated (`benchmarks/pauses.py` chose 200, 2 s).
"""

import argparse
from pathlib import Path

from auricle import checkpoint
from auricle.features import PaddingConfig

DBFS = -30.0
FRAMES = 200


def main() -> None:
    """Read the arguments and write the configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a checkpoint")
    parser.add_argument("--dbfs", type=float, default=DBFS, help="RMS level (default: -30)")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of 10 ms (default: 200)")
    arguments = parser.parse_args()
    found = checkpoint.load(arguments.model)
    padding = PaddingConfig(mode="repeat", frames=arguments.frames)
    changes = {"min_level_dbfs": arguments.dbfs, "padding": padding}
    front_end = found.config.front_end.model_copy(update=changes)
    found.config = found.config.model_copy(update={"front_end": front_end})
    card = (arguments.model / "README.md").read_text(encoding="utf-8")
    checkpoint.save(found, arguments.model, card=card)
    print(
        f"{arguments.model}: softer clips are raised to {arguments.dbfs:g} dBFS, shorter ones "
        f"repeated up to {arguments.frames} frames"
    )


if __name__ == "__main__":
    main()
