"""Writes bleu.json: corpora and what sacrebleu says of them.

    pip install sacrebleu==2.6.0 && python bleu.py > bleu.json
"""

import json

import sacrebleu

CORPORA = [
    (["The cat sat on the mat."], ["The cat sat on the mat."]),
    (["the cat sat on mat"], ["The cat sat on the mat."]),
    (["A man in a blue shirt is standing on a ladder cleaning a window."],
     ["A man in a blue shirt is on a ladder cleaning a window."]),
    ([""], ["Nothing was written."]),
    (["", "A dog runs across the green field."], ["Two men.", "A dog runs across a green field."]),
    (["completely different words here"], ["no match at all, none"]),
    (["a"], ["a"]),
    (["a b"], ["a b"]),
    (["a b c d e f g h"], ["a x c y e z g w"]),
    (["the the the the the the"], ["the cat is on the mat"]),
    (["It costs 1,000.50 dollars, e.g. in the U.S., on 3-4 days."],
     ["It costs 1,000.5 dollars e.g. in the US on 3 - 4 days."]),
    (["\"Hello\", she said; 'well-known' (or not)?"], ["\"Hello,\" she said: 'well known' (or not)!"]),
    (["Bread &amp; butter &lt;3 &quot;yes&quot; &#39;"], ["Bread & butter <3 \"yes\" '"]),
    (["Schöne Grüße aus Köln – über 20 % billiger…"], ["Schöne Grüße aus Köln — über 20% billiger ..."]),
    (["“Quoted” text with an ‘apostrophe’s’ mark"], ["\"Quoted\" text with an 'apostrophe's' mark"]),
    (["x.y,z .5 5. ,5 5, 5.5 -5 5- a-b 1-2-3 ... ,, .,."], ["x.y,z .5 5. ,5 5, 5.5 -5 5- a-b 1-2-3 .. , .,"]),
    (["a very short one", "Two dogs play with a red ball in the snow .", "A woman is reading"],
     ["a very much longer reference than that one", "Two dogs are playing with a red ball in the snow.",
      "A woman reads a newspaper on a bench in the park"]),
    (["much too long an output for a reference that is only this short, really"], ["a reference that is short"]),
    (["tabs\tand  double   spaces  "], ["tabs and double spaces"]),
    (["100% @home #tag $5 ^_^ ~x~ {a} [b] a/b a*b a+b a=b a|b `c` \\d"],
     ["100 % @ home # tag $ 5 ^ _ ^ ~ x ~ { a } [ b ] a / b a * b a + b a = b a | b ` c ` \\ d"]),
    # Nothing against nothing, something against nothing, one wrong word, a word of another case.
    ([""], [""]),
    (["   ", "one two three four"], ["", ""]),
    (["yes"], ["no"]),
    (["the Cat sat on The mat"], ["The cat sat on the mat"]),
    # What mteval-v13a unescapes, removes and joins; entities are unescaped once, in its order.
    (["a&amp;lt;b &amp;amp; &amp;quot; <skipped>text- \nnew co-\noperation\nline -\n"],
     ["a < b & \" text - new cooperation line -"]),
    # White space of Python and of Unicode; zero width is none.
    (["a\x1cb\x1dc\x1ed\x1f\x85e\xa0f\u2003g\u3000h\u200bi j\x1f"], ["a b c d e f g h i j"]),
    # Repeated n-grams are clipped by their own reference, not by the corpus.
    (["to be or not to be to be or not to be", "to be"], ["to be or not to be", "to be or not to be to be"]),
]

golden = []
for hypotheses, references in CORPORA:
    bleu = sacrebleu.corpus_bleu(hypotheses, [references])
    golden.append({
        "hypotheses": hypotheses,
        "references": references,
        "score": bleu.score,
        "precisions": bleu.precisions,
        "brevity_penalty": bleu.bp,
        "hypothesis_length": bleu.sys_len,
        "reference_length": bleu.ref_len,
    })
print(json.dumps(golden, indent=1, ensure_ascii=False))
