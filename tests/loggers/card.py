"""card.py FOLDER: the metadata of a model card as the hub's own library reads them, and as it would write them again, as
JSON. It refuses an index of results that lacks something."""

import json
import sys
from pathlib import Path

import yaml
from huggingface_hub import ModelCard


def main(folder):
    card = ModelCard.load(Path(folder) / "README.md")
    again = yaml.safe_load(card.data.to_yaml())
    results = [vars(result) for result in card.data.eval_results or []]
    print(json.dumps(dict(metadata=again, results=results, text=card.text), default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
