"""python -m coscale.train NAME --data DIR ... --out DIR"""

import argparse
import sys
from pathlib import Path

from coscale.errors import CoscaleError
from coscale.train.loop import train
from coscale.train.recipes import RECIPES

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m coscale.train", description="Train a rescaler.")
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of photos")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, checkpoint and log")
    arguments = parser.parse_args()
    try:
        print(train(RECIPES[arguments.recipe], arguments.data, arguments.out))
    except CoscaleError as error:
        sys.exit(f"coscale.train: {error}")
