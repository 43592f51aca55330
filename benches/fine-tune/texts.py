"""Joins texts for a fine-tune, the end of each held back.

    python texts.py OUT FILE…

writes OUT/train.txt and OUT/held-out.txt, the last 5 % of each file's lines (--held-out 0.1: 10 %). Of a .csv file the last
two columns are the text.
"""

import argparse
import csv
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("files", nargs="+", type=pathlib.Path)
parser.add_argument("--held-out", type=float, default=0.05)
args = parser.parse_args()

train, held_out = [], []
for path in args.files:
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            lines = [". ".join(row[-2:]) for row in csv.reader(file)]
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
    split = int(len(lines) * (1 - args.held_out))
    train += lines[:split]
    held_out += lines[split:]
args.folder.mkdir(parents=True, exist_ok=True)
for name, lines in [("train.txt", train), ("held-out.txt", held_out)]:
    (args.folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {len(lines):,} lines")
