"""What cells show: one table of several evaluations, the curve and the steps of a training that goes on, Chinese charts."""

import re
import unittest

from support import READY, drawings, kernel, run


def shown(outputs):
    """The pages that stand below a cell when it has ended, in order."""
    pages = {}
    for number, output in enumerate(outputs):
        content = output["content"]
        page = content.get("data", {}).get("text/html") or content.get("text", "")
        pages[content.get("transient", {}).get("display_id") or number] = page
    return [page for page in pages.values() if page]


def points(page):
    """How many points each line of a chart has."""
    return [len(line.split()) for line in re.findall(r'<polyline [^>]*points="([^"]*)"', drawings(page)[0])]


def cells(page):
    """The rows of a table, without its header."""
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)][1:]


class Displays(unittest.TestCase):
    def setUp(self):
        self.manager, self.kc = self.enterContext(kernel())

    def run_cell(self, code):
        reply, outputs = run(self.kc, code)
        self.assertEqual(reply["status"], "ok", reply)
        return outputs

    def test_evaluations_of_a_cell_are_one_table(self):
        # Those of the demo take long enough for a bar, which goes when its evaluation has ended.
        self.run_cell("demo\nlora")
        outputs = self.run_cell("evaluate adapter=base\nevaluate max_samples=2\nevaluate adapter=base\nevaluate")
        self.assertTrue(any(output["msg_type"] == "update_display_data" for output in outputs))
        [page] = shown(outputs)
        rows = cells(page)
        self.assertEqual([row[1] for row in rows], ["base", "default", "base", "default"])
        # The last column has the time.
        self.assertEqual(rows[0][:-1], rows[2][:-1])
        self.assertEqual(outputs[-1]["msg_type"], "execute_result")
        # What stands between them is not taken back.
        pages = shown(self.run_cell("evaluate\nprint between\nevaluate"))
        self.assertEqual([page.strip() == "between" for page in pages], [False, True, False])

    def test_the_curve_of_a_training_that_goes_on_begins_at_its_first_step(self):
        self.run_cell(READY)
        self.run_cell("train 3")
        page = shown(self.run_cell("train 2"))[0]
        self.assertEqual(points(page), [5, 5])
        self.assertEqual([row[0] for row in cells(page)], ["1", "2", "3", "4", "5"])
        # A new adapter has a curve of its own.
        page = shown(self.run_cell("lora\ntrain 2"))[-2]
        self.assertEqual(points(page), [2, 2])
        self.run_cell("adapter use default\nundo 3")
        page = shown(self.run_cell("train 1 &\nwait"))[0]
        self.assertEqual(points(page), [3, 3])

    def test_charts_are_chinese_where_the_session_is(self):
        self.run_cell(READY + "train 2\nlang zh")
        [chart] = drawings(shown(self.run_cell("plot"))[0])
        for word in ["损失", "原值", "平滑", "步"]:
            self.assertIn(f">{word}</text>", chart)
        self.assertNotRegex(chart, ">[a-z]+</text>")

    def test_long_sentences_are_broken_by_the_page(self):
        self.run_cell(READY)
        [output] = self.run_cell("status")
        data = output["content"]["data"]
        self.assertIn("word-break:normal", data["text/html"])
        self.assertLess(max(map(len, data["text/plain"].splitlines())), 100)
        *streamed, about = self.run_cell("chat Hello")
        self.assertTrue(streamed and all(output["msg_type"] == "stream" for output in streamed))
        self.assertRegex(about["content"]["data"]["text/html"], r"word-break:normal[^>]*>\[prompt \d+ tokens")


if __name__ == "__main__":
    unittest.main()
