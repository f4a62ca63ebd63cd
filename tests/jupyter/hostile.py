"""Captions, file names and questions that look like HTML, through every display: they stay text."""

import json
import shutil
import tempfile
import unittest
import xml.etree.ElementTree
from html.parser import HTMLParser
from pathlib import Path

from support import FIXTURES, drawings, kernel, run

HOSTILE = "<img src=x onerror=alert(1)> \"><script>alert(2)</script> ' <svg/onload=alert(3)> & </td></table> ]]>"
# What displays are made of.
TAGS = set("a b br caption code details div figcaption figure img mark p pre span summary table tbody td th thead tr".split())
ATTRIBUTES = {"alt", "open", "src", "style", "title"}
SVG_TAGS = set("circle g image path polyline rect style svg text".split())


class Page(HTMLParser):
    """What a fragment of a page would be to a browser."""

    def __init__(self, html):
        super().__init__()
        self.strange, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.strange += [tag] if tag not in TAGS else []
        self.strange += [(tag, name) for name, _ in attributes if name not in ATTRIBUTES]
        self.strange += [(tag, value) for name, value in attributes if name == "src" and not value.startswith("data:image/")]
        self.text += " ".join(value or "" for name, value in attributes if name in ("alt", "title"))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.strange.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def strange_in_svg(svg):
    """Elements and attributes that no drawing has."""
    found = []
    for element in xml.etree.ElementTree.fromstring(svg).iter():
        tag = element.tag.rpartition("}")[2]
        found += [tag] if tag not in SVG_TAGS else []
        found += [(tag, name) for name in element.attrib if name.lower().startswith("on")]
        found += [(tag, value) for name, value in element.attrib.items() if "href" in name and not value.startswith("data:image/")]
    return found


class Hostile(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        # A slash cannot be in a file's name.
        self.picture = HOSTILE.replace("/", "|") + ".png"
        pictures = sorted((FIXTURES / "pictures").glob("*.png"))
        shutil.copy(pictures[0], self.folder / self.picture)
        boxed = f'{HOSTILE} <|box_start|>(2,2),(9,9)<|box_end|>'
        rows = [
            {"messages": [{"role": "user", "content": f"<image>{HOSTILE}"}, {"role": "assistant", "content": text}], "images": [self.picture]}
            for text in [HOSTILE, boxed, f"{HOSTILE} again"]
        ]
        (self.folder / "rows.json").write_text(json.dumps(rows))
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
        columns = {"messages": "messages", "images": "images"}
        entry = {"file_name": "rows.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
        (self.folder / "dataset_info.json").write_text(json.dumps({HOSTILE.replace(",", ""): entry, "plain": entry}))
        self.manager, self.kc = self.enterContext(kernel())

    def html_of(self, code):
        """The pages of a cell's displays, each of which is looked at."""
        _, outputs = run(self.kc, code)
        pages = []
        for output in outputs:
            data = output["content"].get("data", {})
            html = data.get("text/html", "")
            page = Page(html)
            self.assertEqual(page.strange, [], code)
            for svg in drawings(html):
                self.assertEqual(strange_in_svg(svg), [], code)
            pages += [page] if html else []
        return pages

    def test_whatever_is_shown_stays_text(self):
        self.html_of(f"load {FIXTURES}/tiny")
        told = {}
        for code in [
            f"data dataset_dir={self.folder}",
            "data plain cutoff_len=2048 val_size=0.34 eval_dataset=none",
            "sample 0",
            "lora rank=4",
            f"probe image={json.dumps(str(self.folder / self.picture))} {HOSTILE}",
            f"set batch=1 accum=1 logging_steps=1 eval_steps=2 max_new_tokens=4 output_dir={self.folder}/out",
            "train 4",
            "probes",
            "plot",
            "worst 2",
            "predict plain",
            f"compare image={json.dumps(str(self.folder / self.picture))} {HOSTILE}",
            f"chat image={json.dumps(str(self.folder / self.picture))} {HOSTILE}",
            f"chat image={json.dumps(str(self.folder / self.picture))} regions=true alternatives=2 {HOSTILE}",
            "branch other",
            "adapter list",
            "plot adapters=all",
            "data skipped",
            f"load {HOSTILE}",
            f"help {HOSTILE}",
        ]:
            told[code] = "".join(page.text for page in self.html_of(code))
        heard = [code for code, text in told.items() if "alert(1)" in text]
        # Among them those that show captions, names of files and questions.
        for verb in ["data", "sample", "probe", "train", "worst", "predict", "compare", "chat"]:
            self.assertTrue(any(code.startswith(verb) for code in heard), (verb, heard))


if __name__ == "__main__":
    unittest.main()
