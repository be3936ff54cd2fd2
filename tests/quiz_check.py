"""Predicts what the worked example of evaluations comes to, from its texts alone, and holds what it printed and kept to that: see quiz.sh.

What a scripted look-up says, its tokens, the verdicts and the statistics are worked out here once more, by their definitions in
shared/src/model/{lookup,scripted}.rs and shared/src/evaluation/figures.rs, so that the two can disagree. Times are not predicted.
"""

import csv
import json
import math
import pathlib
import re
import sys
import xml.etree.ElementTree

OUT = pathlib.Path(sys.argv[1])
TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "infra/local/examples"))
import quiz

SAID = "[scripted answer: no model was asked] "
PRICES = next(model for model in json.loads((TOP / "shared/data/prices.json").read_text())["models"] if model["name"] == "demo/scripted")
Z = 1.959963984540054


def words(text):
    return set(re.findall(r"[^\W_]+", text.lower()))


def looked_up(instructions, question):
    sentences = [part.strip() for line in instructions.splitlines() for part in re.split(r"(?<=[.!?])\s", line) if part.strip()]
    asked = words(question)
    weight = {}
    for word in asked:
        having = sum(word in words(sentence) for sentence in sentences)
        weight[word] = ((len(sentences) + 1) // max(1, having)).bit_length() - 1
    weighs = lambda of: sum(weight[word] for word in of)
    best = max(sentences, key=lambda sentence: weighs(asked & words(sentence)))
    enough = weighs(asked & words(best)) * 3 >= weighs(asked) > 0
    return SAID + (best if enough else "My instructions do not say.")


def tokens(*texts):
    return math.ceil(sum(len(text.encode()) for text in texts) / 4)


def holds(validation, answer):
    """Whether it holds: `exact` and `json_schema` never do, as SAID stands before every answer."""
    return "content_match" in validation and bool(re.search(validation["content_match"]["pattern"], answer))


def predicted(instructions, cases):
    """The verdicts on the cases, and what they come to."""
    verdicts, cost = [], 0
    for case in cases:
        answer = looked_up(instructions, case["message"])
        verdicts.append(all(holds(validation, answer) for validation in case["validations"]))
        used = tokens(instructions, case["message"]) * PRICES["input"] + tokens(answer) * PRICES["output"]
        cost += math.ceil(used / 1_000_000)
    n, k = len(cases), sum(verdicts)
    p, shrunk = k / n, 1 + Z * Z / n
    half = Z / shrunk * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    low, high = (p + Z * Z / (2 * n)) / shrunk - half, (p + Z * Z / (2 * n)) / shrunk + half
    return verdicts, {
        "correct": k, "attempts": n, "correctness": p, "correctness_interval": {"low": low, "high": high},
        "cost_micro_usd": cost, "price_per_correct_micro_usd": cost / k, "no_price_reason": None,
        "price_per_correct_interval": {"low": cost / n / high, "high": cost / n / low},
    }


def same(found, expected):
    if isinstance(expected, dict):
        return all(same(found[name], value) for name, value in expected.items())
    return math.isclose(found, expected, rel_tol=1e-9) if isinstance(expected, float) else found == expected


def without_times(line):
    """The cells of a line of the table but p50 and p95."""
    cells = [cell.strip() for cell in line.strip("|\n ").split("|")]
    return cells[:5] + cells[7:]


def main():
    cases = json.loads((TOP / "infra/local/examples/quiz/questions.json").read_text())["items"]
    view = json.loads((OUT / "evaluation.json").read_text())
    expected = {name: predicted(prompt, cases) for name, prompt in quiz.prompts().items()}
    figures = {name: figures for name, (_, figures) in expected.items()}
    at = lambda name: (figures[name]["correct"], -figures[name]["price_per_correct_micro_usd"])
    for name, of in figures.items():
        others = [at(other) for other in figures if other != name]
        of["unbeaten"] = not any(c >= at(name)[0] and p >= at(name)[1] and (c, p) != at(name) for c, p in others)
    assert [of["agent_name"] for of in view["configurations"]] == list(figures), view
    for found in view["configurations"]:
        wanted = figures[found["agent_name"]]
        assert same(found, wanted), f"{found} is not {wanted}"
    # What the example shall show: more is known for more money, and house rules are paid for nothing.
    assert [figures[name]["unbeaten"] for name in ("short", "handbook", "wordy")] == [True, True, False], figures

    verdicts = {(case["custom_id"], name): right for name, (all_of, _) in expected.items() for case, right in zip(cases, all_of)}
    names = [of["agent_name"] for of in view["configurations"]]
    cells = [json.loads(line) for line in (OUT / "results.ndjson").open()]
    assert len(cells) == len(verdicts), len(cells)
    for cell in cells:
        right = verdicts[cell["custom_id"], names[cell["configuration"]]]
        assert cell["verdict"] == ("correct" if right else "wrong"), cell
    rows = list(csv.DictReader((OUT / "results.csv").open()))
    assert [row["verdict"] for row in rows] == [cell["verdict"] for cell in cells], rows
    suites = xml.etree.ElementTree.parse(OUT / "junit.xml").getroot()
    counts = [(int(suite.get("tests")), int(suite.get("failures")), int(suite.get("errors"))) for suite in suites]
    assert counts == [(len(cases), len(cases) - of["correct"], 0) for of in figures.values()], counts
    page = (OUT / "report.html").read_text()
    assert "<svg" in page and all(name in page for name in figures), page

    printed = [without_times(line) for line in (OUT / "table").open()]
    shown = [without_times(line) for line in (TOP / "README.md").open()]
    missing = [cells for cells in printed[:1] + printed[2:] if cells not in shown]
    assert not missing, f"the README does not show {missing}"
    print(f"{len(verdicts)} verdicts and every figure but times are as predicted, and the README shows them")


if __name__ == "__main__":
    main()
