"""A slow reader of the texts of the world dispatch: it knows nothing of the records."""

from __future__ import annotations


def asked(text):
    """Demand, capacities in merit order, and whether they are loaded backwards, from the words."""
    words = text.split()
    words = words[words.index("Q") + 1 : words.index("?")]
    row = words[words.index(":") + 1 :]
    return int(words[1]), dict(zip(row[::3], map(int, row[1::3]), strict=True)), "reverse" in words


def allocate(text):
    """The answer of a question, one unit at a time."""
    demand, capacities, backwards = asked(text)
    amounts = dict.fromkeys(capacities, 0)
    order = [*capacities][::-1] if backwards else [*capacities]
    for _ in range(demand):
        free = [name for name in order if amounts[name] < capacities[name]]
        if not free:
            return "unk"
        amounts[free[0]] += 1
    return " ".join(f"{name} {amount}" for name, amount in amounts.items())


def conclude(text, steps):
    """What steps lead to, word by word."""
    said = {step.split()[2]: step.split()[3] for step in steps}
    if steps[-1].split()[5] != "0":
        return "unk"
    return " ".join(f"{name} {said[name]}" for name in asked(text)[1])


def step_is_right(text, step):
    need, _, name, amount, _, left, _ = step.split()
    most = max(a for a in range(41) if a <= int(need) and a <= asked(text)[1][name])
    return int(amount) == most and int(amount) + int(left) == int(need)
