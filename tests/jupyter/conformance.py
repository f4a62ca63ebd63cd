"""jupyter_kernel_test with every sample that it knows: nothing is skipped."""

import unittest

from jupyter_kernel_test import IopubWelcomeTests, KernelTests

# With it the kernels of these tests have a history of their own: another one may hold what a test looks for.
from support import FIXTURES

TRAINED = f"""
load {FIXTURES}/tiny
data creatures dataset_dir={FIXTURES}/train cutoff_len=512
lora rank=4
train 2 batch=2 accum=1
"""


class Conformance(KernelTests):
    kernel_name = "tunebook"
    language_name = "bash"
    file_extension = ".tune"

    code_hello_world = "print hello, world"
    code_stderr = "!echo to standard error >&2"
    completion_samples = [
        {"text": "tr", "matches": ["train"]},
        {"text": "%adapter u", "matches": ["use"]},
        {"text": "load m dtype=f", "matches": ["float32"]},
        {"text": "print é图\ntrain learning", "matches": ["learning_rate="]},
        {"text": "nothing ", "matches": []},
    ]
    complete_code_samples = ["train 5", "%plot loss", "# a comment", "", "%%chat\nWhat?\n\n", "!ls 'a", "?lr\n%time train"]
    incomplete_code_samples = ["train 5 \\", "%%chat\nWhat?", "%%time\ntrain"]
    invalid_code_samples = ["trian 5", 'load "a b', "train lr=1 lr=2", "%time trian"]
    code_page_something = "train?"
    code_generate_error = "trian 5"
    code_execute_result = [
        {"code": "adapter off\nadapter list", "mime": "text/html"},
        {"code": "help", "mime": "text/html"},
        {"code": "sample 1", "mime": "text/html"},
        {"code": "status"},
    ]
    code_display_data = [
        {"code": "plot", "mime": "image/png"},
        {"code": "plot lr", "mime": "text/html"},
        {"code": "train 1", "mime": "text/html"},
    ]
    code_history_pattern = "sam?le 1*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "train lr"
    code_clear_output = "%clear"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kc.execute_interactive(TRAINED, timeout=120, output_hook=lambda _: None)

    def setUp(self):
        # `adapter off` of one test must not reach `plot` of another.
        self.kc.execute_interactive("adapter use default", timeout=15, output_hook=lambda _: None)


class Welcome(IopubWelcomeTests):
    kernel_name = "tunebook"
    support_iopub_welcome = True


if __name__ == "__main__":
    del KernelTests, IopubWelcomeTests
    unittest.main(verbosity=2)
