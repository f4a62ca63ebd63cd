"""check_card.py FOLDER PICTURE ANSWER

Does the Python of a model card run, and say what tunebook says? FOLDER holds the card, and the base model that it names
lies beside it. Runs the card's code as it stands, in the folder that both lie in, on the picture, and compares the answer
to "What is in the picture?" with ANSWER, that of `chat` with max_new_tokens=256 and temperature=0. Exit status 1 if they differ.
"""

import contextlib
import io
import os
import re
import shutil
import sys
from pathlib import Path

import torch
from huggingface_hub import ModelCard


def main(folder, picture, answer):
    folder = Path(folder).resolve()
    code = re.search(r"```python\n(.*?)```", ModelCard.load(folder / "README.md").text, re.DOTALL).group(1)
    shutil.copy(picture, folder.parent / "picture.png")
    os.chdir(folder.parent)
    torch.set_num_threads(1)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    said = said.getvalue().strip()
    print(f"transformers: {said}\ntunebook:     {answer}")
    return 0 if said == answer.strip() else 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
