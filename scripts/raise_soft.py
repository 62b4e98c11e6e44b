"""Let a trained model raise soft sound before it scores it: set `min_level_dbfs` of its front end.

    python scripts/raise_soft.py MODEL [--dbfs -30]

For models that were trained on loud sound alone; weights stay as they are. Of what a tagger was
distilled from, one clip in eight is softer than -30 dBFS.
"""

import argparse
from pathlib import Path

from auricle import checkpoint

DBFS = -30.0


def main() -> None:
    """Read the arguments and write the configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a checkpoint")
    parser.add_argument("--dbfs", type=float, default=DBFS, help="RMS level (default: -30)")
    arguments = parser.parse_args()
    found = checkpoint.load(arguments.model)
    front_end = found.config.front_end.model_copy(update={"min_level_dbfs": arguments.dbfs})
    found.config = found.config.model_copy(update={"front_end": front_end})
    card = (arguments.model / "README.md").read_text(encoding="utf-8")
    checkpoint.save(found, arguments.model, card=card)
    print(f"{arguments.model}: softer clips are raised to {arguments.dbfs:g} dBFS")


if __name__ == "__main__":
    main()
