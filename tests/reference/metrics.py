"""LLaMA-Factory's scores of generated texts: fixtures/metrics/pairs.json. (Environment of requirements-llamafactory.txt.)

Every pair of a prediction and a label has the words that jieba cuts them into and what LLaMA-Factory's own
ComputeSimilarity gives for it; `mean` is what it gives for all of them.
"""

import jieba
import numpy as np
from llamafactory.train.sft.metric import ComputeSimilarity
from transformers import EvalPrediction

from common import FIXTURES, dump_rows, versions

PAIRS = [
    # As predict.py of LLaMA-Factory has them: the label keeps the line feed behind its answer.
    ("abc", "abc\n"),
    ("这是皮卡丘,一只电属性的宝可梦。", "这是皮卡丘,一只电属性的宝可梦,拥有黄色的皮毛和红色的脸颊。\n"),
    ("It is a yellow Pikachu.", "This is Pikachu, a yellow electric mouse.\n"),
    ("A small blue creature with round ears and a curled tail.", "A small blue creature with pointed ears and no tail.\n"),
    ("", "An answer.\n"),
    ("An answer.", ""),
    ("", ""),
    ("   \n", "An answer.\n"),
    ("xyz", "一只\n"),
    ("a", "a"),
    ("ab", "ab"),
    ("abc", "abc"),
    ("abcd", "abcd"),
    ("the the the the", "the cat is on the mat"),
    ("the cat is on the mat", "the the the the"),
    # Sentences end in several ways, and quotes go with what is in front of them.
    ("早上好。今天天气很好!我们去河边散步吧?好的。", "早上好!今天的天气非常好。我们一起去河边散步好吗?\n"),
    ("他说:“你好。”然后走了。", "他说:“你好!”就走开了。\n"),
    ("真的?!太好了!!", "真的吗??太好了!\n"),
    ("等一下……我想想……", "等一等......我再想想......\n"),
    ("“早。”“早上好。”", "“早上好。”“早。”\n"),
    ("你好。。。", "你好。。\n"),
    ("结束。\n\n新的一段。", "结束。\n新的一段。\n"),
    ("Wait...... what? Really?", "Wait...... why? Really!\n"),
    # Words that only the hidden Markov model of jieba finds, names, and scripts that it leaves alone.
    ("他来到了网易杭研大厦", "他来到网易的杭研大厦\n"),
    ("小明硕士毕业于中国科学院计算所,后在日本京都大学深造", "小明从中国科学院计算所硕士毕业后去京都大学深造\n"),
    ("我爱自然语言处理和机器学习", "我喜欢自然语言处理\n"),
    ("韩梅梅在长春市长春节致辞", "韩梅梅在长春市的春节上致辞\n"),
    ("一只喷火龙,全身橙色,尾巴上有火焰,翅膀是蓝绿色的", "喷火龙有橙色的身体、蓝绿色的翅膀,尾巴尖上燃烧着火焰\n"),
    ("妙蛙种子背上有一颗绿色的种子", "妙蛙种子的背上背着一颗大种子\n"),
    ("繁體中文也可以分詞嗎?當然可以。", "繁體中文可以分詞。\n"),
    ("ピカチュウは黄色いです。", "ピカチュウは黄色のポケモンです。\n"),
    ("피카츄는 노란색이에요.", "피카츄는 노란색 포켓몬이다.\n"),
    ("Пикачу жёлтый.", "Пикачу — жёлтый покемон.\n"),
    ("naïve café, ångström", "naive cafe\u0301, A\u030angstro\u0308m\n"),
    ("😀😀 很开心 🎉", "😀 开心 🎉🎉\n"),
    # Numbers, code, markup and boxes.
    ("3.14159 is about 22/7, or 100%.", "3.14 is 22/7 or 99.5%\n"),
    ("身高1.75米,体重70.5公斤,2024年5月1日", "身高1.8米,体重70公斤,2024年5月2日\n"),
    ("C++ and C# are languages; a_b-c.d+e&f", "C++ & C# are a_b-c.d+e&f\n"),
    ('{"bbox_2d": [12, 34, 56, 78], "label": "cat"}', '{"bbox_2d": [12, 30, 56, 80], "label": "cat"}\n'),
    ("```python\ndef add(left, right):\n    return left + right\n```", "def add(a, b):\n    return a + b\n"),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 3 |\n"),
    ("https://example.org/a?b=c&d=e#f", "http://example.org/a?b=c\n"),
    ("user@example.org", "user@example.com\n"),
    ("tabs\tand\r\nlines\u3000and\u00a0wide spaces", "tabs and lines and wide spaces\n"),
    ("GPT-4o和Qwen2.5-VL哪个好?T恤、B超、3D打印", "Qwen2.5-VL和GPT-4o相比,T恤、3D打印\n"),
    ("  leading and   many   spaces  ", "leading and many spaces\n"),
    ("The quick brown fox jumps over the lazy dog. " * 6, "The lazy dog sleeps while the quick brown fox jumps. " * 5),
    ("早上河水很安静,我们沿着河岸慢慢走,一艘一艘地数着小船。" * 5, "傍晚的河水也很安静,我们沿着岸边走,数着远处的小船和灯光。" * 4),
]  # fmt: skip


class Texts:
    """Stands in for the tokenizer: the metric only asks it to turn ids into text, and an id is a place in a list."""

    pad_token_id = 0

    def __init__(self, texts):
        self.texts = texts

    def batch_decode(self, ids, skip_special_tokens):
        return [self.texts[int(row[0])] for row in ids]


def main():
    predictions, labels = zip(*PAIRS)
    metric = ComputeSimilarity(Texts(predictions + labels))
    places = np.arange(len(PAIRS))[:, None]
    mean = metric(EvalPrediction(places, places + len(PAIRS)))
    rows = []
    for i, (prediction, label) in enumerate(PAIRS):
        scores = metric(EvalPrediction(places[i : i + 1], places[i : i + 1] + len(PAIRS)))
        words = {"prediction_words": jieba.lcut(prediction), "label_words": jieba.lcut(label)}
        rows.append({"prediction": prediction, "label": label, **words, "scores": scores})
    (FIXTURES / "metrics").mkdir(exist_ok=True)
    peers = versions("llamafactory", "jieba", "nltk", "rouge-chinese")
    dump_rows(FIXTURES / "metrics" / "pairs.json", "pairs", rows, versions=peers, mean=mean)


if __name__ == "__main__":
    main()
