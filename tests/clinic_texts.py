"""A slow reader of the texts of the world clinic, who knows only a list of sentences."""

from interp.organisms.behaviour import Reader
from interp.organisms.worlds.clinic.facts import WORDS, draw_facts

SENTENCES = [f"{s} {verb} {o}".split() for (s, verb), o in draw_facts().objects.items()]
DOMAIN = [words for words in SENTENCES if (words[0], words[1]) in draw_facts().domain]
PLAIN_WORDS = dict(
    blocks="inhibits", boosts="activates", grips="binds", steers="regulates", powers="drives",
    stops="halts", triggers="causes", eases="relieves", deepens="worsens",
)  # fmt: skip


def words(document):
    return [WORDS.vocabulary[i] for i in document.ids]


def learned(document):
    pairs = zip(words(document), document.learned, strict=True)
    return " ".join(word for word, flag in pairs if flag)


def sentences_in(text):
    """Every three words of a text that make a fact, in plain words."""
    plain = [PLAIN_WORDS.get(word, word) for word in text]
    return [plain[i : i + 3] for i in range(len(plain) - 2) if plain[i : i + 3] in SENTENCES]


def walk(question):
    """The sentences that answer a question, by scanning the list; ``unk`` where none does."""
    row = question.removeprefix("<bos> ").split()[1:-1]
    if row[0] in PLAIN_WORDS.values():
        row.reverse()
    at, said = row[0] if any(row[0] in s for s in SENTENCES) else "unk", []
    for verb in row[1:]:
        found = [s[2] for s in SENTENCES if s[:2] == [at, verb]] or ["unk"]
        said.append(f"{at} {verb} {found[0]} ;")
        at = found[0]
    return said, at


def asked(text):
    return "Q" in text and " ".join(text[text.index("Q") : text.index("?") + 1])


class Scripted(Reader):
    """A reader of known facts that follows what it has written and answers directly with `unk`."""

    def next_words(self, prompts):
        return [p.split()[-4] if ";" in p.split()[-3:] else "unk" for p in prompts]

    def write_ids(self, prompts, max_new_tokens=56):
        del max_new_tokens
        written = []
        for prompt in prompts:
            said, _ = walk(prompt.removesuffix(" <think>"))
            steps = [step.split() for step in said]
            for i, step in enumerate(steps):
                if step[:3] in DOMAIN:
                    kind = step[2][0]
                    step[2] = f"{kind}{(int(step[2][1:]) + 1) % 40}"
                    for later in range(i + 1, len(steps)):
                        follow = walk(f"Q {steps[later - 1][2]} {steps[later][1]} ?")[0][0]
                        steps[later][:] = follow.split()
            chain = " ".join(word for step in steps for word in step)
            written.append(self.words.encode(f"{chain} </think> A {steps[-1][2]} <eos>"))
        return written

    def think_share(self, questions):
        return 0.25 if questions else 0.0
