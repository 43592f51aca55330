"""Writes templates.json: what transformers renders of templates/*.jinja, and where a template refuses.

    pip install jinja2==3.1.6 transformers==5.24.0
    python templates.py

smollm2.jinja is SmolLM2-Instruct's own (Apache-2.0). The others are written for these tests in the ways of the models that
they are called after. {"template", "special", "messages", "add_generation_prompt", "variables", "expected" or "refused"}.
"""

import json
from pathlib import Path

import jinja2
from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = Path(__file__).parent
SPECIAL = {
    "bitnet": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "alternating": {"bos_token": "<s>", "eos_token": "</s>"},
}


def say(*turns):
    return [{"role": role, "content": content} for role, content in turns]


CONVERSATIONS = [
    say(("user", "Hello!")),
    say(("system", " Be brief. "), ("user", "  What is 2 + 2?\n"), ("assistant", "4\n"), ("user", "Und auf Deutsch? äöü 😀")),
    say(
        ("user", "a"),
        ("assistant", "<think>\nhm\n</think>\n\nyes"),
        ("user", "<tool_response>x</tool_response>"),
        ("assistant", "<think>\nagain\n</think>\n\nno"),
    ),
    say(("user", "one"), ("user", ""), ("skipped", "x"), ("assistant", "banana"), ("user", "stop here"), ("user", "never")),
    say(("user", "call"), ("tool", '{"t": 1}'), ("tool", "b"), ("assistant", "done"), ("user", "{{ messages }} {% if %}")),
]
# Keys are sorted: without the feature `preserve_order` the maps of templates are.
TOOL = {"function": {"name": "f", "parameters": {"x": {"enum": [1, 2.5, None, True], "type": "number"}}}, "type": "function"}
VARIABLES = [{"date_string": "01 Jan 2025"}, {"date_string": "x", "enable_thinking": False}, {"date_string": "x", "tools": [TOOL]}]

cases = []
for path in sorted((HERE / "templates").glob("*.jinja")):
    name = path.stem
    template = _compile_jinja_template(path.read_text())
    special = SPECIAL.get(name, {})
    for messages in CONVERSATIONS:
        for index, variables in enumerate(VARIABLES):
            add = index != 1 or name == "qwen3"
            case = {
                "template": name,
                "special": special,
                "messages": messages,
                "add_generation_prompt": add,
                "variables": variables,
            }
            told = {"tools": None, "documents": None, **special, **variables}
            try:
                case["expected"] = template.render(messages=messages, add_generation_prompt=add, **told)
            except jinja2.exceptions.TemplateError as error:
                case["refused"] = str(error)
            if not any(case == other for other in cases):
                cases.append(case)

text = json.dumps(cases, ensure_ascii=False, indent=0)
(HERE / "templates.json").write_text(text + "\n")
print(len(cases), "cases,", sum("refused" in case for case in cases), "refused,", len(text), "bytes")
