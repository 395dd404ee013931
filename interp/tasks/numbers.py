r"""Steps of running text rewritten: mistakes in what they state, final values planted, paraphrases.

A step such as ``She makes 9 * 2 = $18 every day.`` states a value: its **result**, the number after
the last ``=`` (or ``equals``), written in any way that `interp.tasks.number_reading` knows; without
an equation the answer that it announces (``\boxed{18}``), else the last number that it mentions
(``So 18 are left.``). `interp.tasks.step_equations` says which numbers are no values. There are
four operations:

- *reading*: the result in the form of an answer, ``18``;
- a *mistake*: the value that a step states becomes another number near it, in its second digit
  (18 -> 16, 70,000 -> 72,000), also where the step repeats it. When the mistake is *propagated*,
  later steps go on from it: an equation that uses the old number uses the new one, its own result
  is worked out anew, and that goes on in the same way; a mention of an old number becomes the new
  one, in a box or after "the answer is" too. The wrong number, and what follows from it, is none
  that the chain or the question states already, as far as a choice is left;
- a *planted* final value: every statement of the value that the chain comes to is replaced by one
  wrong value, whatever the equations around it say;
- a *paraphrase* by rule: ``9 times 2 equals $18``, or a lead-in where there is no equation. Nobody
  has judged whether readers accept it as a paraphrase.

A later equation may give an old value again from numbers that are all unchanged. If these are the
numbers of the calculation that gave the value first, it is the same calculation and repeats the
mistake; else it is another quantity or a check by another way, and stays. From there on the value
is that of the later equation: a check can repair a chain. Where one equation uses the value twice
(``20 + 8 + 20``), the first is the changed one.

Limits: numbers are matched by value. If the corrupted value also stands in the question, its later
uses are ambiguous. Steps with a result then change it inside equations only; a step without a
result changes it everywhere (``So 18 are left.`` would give the old value away). An equation that
cannot be checked (``half of 50 = 25``, in a step without an annotation) keeps its result, and what
is worked out in words (``adding 1 gives 2865``) is not worked out anew: there the mistake ends. A
bare 0, 1 or 2 (``so k = 2``) is left alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

from interp.tasks.number_reading import (
    Number,
    evaluate,
    find_numbers,
    find_result,
    write_number,
)
from interp.tasks.number_writing import put_number, wrong_values
from interp.tasks.step_equations import (
    Atom,
    Equation,
    ParsedStep,
    parse_step,
    value_of,
    work_out,
)
from interp.tasks.task import Example

MOST_DRAWS = 4
"""Wrong values that are tried for one without a consequence that the chain states already."""
_OPERATOR = re.compile(r"(?:(?<=[\d)%])\s*([-+*×−x])|\s([-+*×−x/])(?=\s))\s*(?=[$(]?\.?\d)")
# No bound (<=, !=, :=), arrow or alignment mark: only what can be read as "equals".
_EQUALS = re.compile(r"(?<![<>!=:&\\])=(?![=>])")
_CHECK = re.compile(r"\b(?:check|verif|confirm)", re.I)
_SPOKEN = {
    **{"+": "plus", "/": "divided by"},
    **dict.fromkeys("*×x", "times"),
    **dict.fromkeys("-−", "minus"),
}
_LEAD_INS = ("That is to say: ", "In this step: ", "What follows is this: ")


@dataclass
class _Changes:
    """What a mistake has changed so far."""

    asked: frozenset[Fraction]
    """Values of the question."""
    new: dict[Fraction, Fraction] = field(default_factory=dict[Fraction, Fraction])
    """Old value -> what stands in its place."""
    sources: dict[Fraction, Set[Fraction]] = field(default_factory=dict[Fraction, Set[Fraction]])
    """Old value -> the numbers of the calculation that gave it first."""
    shared: dict[Fraction, Fraction] = field(default_factory=dict[Fraction, Fraction])
    """Old values that another calculation gave again -> what the first one comes to."""

    def put(self, old: Fraction, new: Fraction, sources: Set[Fraction]) -> None:
        self.new[old] = new
        self.sources.setdefault(old, sources)

    def keep(self, value: Fraction) -> None:
        """From here on a value is that of another calculation."""
        if value in self.new:
            self.shared[value] = self.new.pop(value)

    def of(self, value: Fraction) -> Fraction | None:
        """What stands in place of a value; of -5 also what stands in place of 5, negative."""
        if value in self.new:
            return self.new[value]
        return -self.new[-value] if value < 0 and -value in self.new else None


@dataclass(frozen=True)
class NumberRewriter:
    """Rewrites steps of running text that state numbers.

    Where ``example.facts`` has ``equation_<i>`` (``9*2=18``) for gold step *i*, that is the
    equation of the step's result where the text itself cannot be worked out.
    """

    def mistake(
        self, example: Example, steps: tuple[str, ...], at: int, *, propagate: bool, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with another number where step `at` states one; None if it states none.

        The rest of step `at` uses the new number, propagated or not.
        """
        parsed = parse_step(steps[at])
        if parsed.stated is None or _is_common(example, steps, at, parsed, parsed.stated):
            return None
        old = value_of(parsed.stated)
        asked = _asked(example)
        taken = _values(steps) | asked
        values = wrong_values(old, taken, rng)[:MOST_DRAWS]
        drawn = [_propagated(example, steps, at, value, asked) for value in values]
        # Also for a mistake that is not propagated, so that both plant the same value.
        made, _ = next((one for one in drawn if not taken & {*one[1].new.values()}), drawn[0])
        return made if propagate else (*steps[:at], made[at], *steps[at + 1 :])

    def plant(
        self, example: Example, steps: tuple[str, ...], final: str, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with one wrong number wherever they state their final value.

        A number of the question that is equal to the final value stays until the chain comes to it.

        Args:
            example: The example.
            steps: Any chain about it.
            final: What the chain concludes, in normal form.
            rng: Chooses the wrong number.

        Returns:
            As many steps; None if the final value is no number, or no step states it.
        """
        if re.fullmatch(r"-?\d+(?:\.\d+|/[1-9]\d*)?", final) is None:
            return None
        old, asked = Fraction(final), _asked(example)
        changes = _Changes(frozenset())
        changes.new[old] = wrong_values(old, _values(steps) | asked, rng)[0]
        is_free = old not in asked
        made: list[str] = []
        for step in steps:
            parsed = parse_step(step)
            puts: list[tuple[Number, Fraction]] = []
            for atom in parsed.atoms:
                new = changes.of(value_of(atom))
                is_free = is_free or (new is not None and _comes_to(parsed, atom))
                if new is not None and is_free:
                    puts.append((atom.number, new))
            made.append(_put_all(step, puts))
        return None if tuple(made) == steps else tuple(made)

    def paraphrase(self, example: Example, step: str, rng: Random) -> str | None:
        """The step with spoken operators, or with a lead-in where it has no equation."""
        del example
        body = step.lstrip()
        if not body:
            return None
        space = step[: len(step) - len(body)]
        *lefts, last = _EQUALS.split(body)
        if not lefts:
            return space + rng.choice(_LEAD_INS) + body
        spoken = [
            _OPERATOR.sub(lambda match: f" {_SPOKEN[match[1] or match[2]]} ", left).strip()
            for left in lefts
        ]
        return space + " equals ".join([*spoken, last.lstrip()])

    def result(self, step: str) -> str | None:
        """The number after the last ``=`` or ``equals``, in normal form."""
        found = find_result(step)
        if found is None or found[1].value is None:
            return None
        return write_number(found[1].value)


def _asked(example: Example) -> frozenset[Fraction]:
    """Values of the question. Worked examples are left out: their numbers are not of this one."""
    question = str(example.facts.get("asked", example.question))
    return frozenset(one.value for one in find_numbers(question) if one.value is not None)


def _values(steps: Iterable[str]) -> frozenset[Fraction]:
    return frozenset(value for step in steps for value in parse_step(step).values)


def _is_common(
    example: Example, steps: tuple[str, ...], at: int, parsed: ParsedStep, atom: Atom
) -> bool:
    """Whether a value is 0, 1 or 2 and nothing shows where it comes from.

    What a chain says of such a number later (``n + 1``, "both of them") is hardly ever about it.
    """
    if abs(value_of(atom)) not in (0, 1, 2) or parsed.is_announced or atom.equations:
        return False
    if atom.kind == "mention":
        return True
    name = re.search(r"[^\W\d_][)\]}|\\]*\s*$", steps[at][: (find_result(steps[at]) or (0,))[0]])
    return name is not None and _annotated(example, steps, at) is None


def _comes_to(parsed: ParsedStep, atom: Atom) -> bool:
    """Whether a step works this number out, or announces it."""
    return atom.kind == "result" or (atom is parsed.stated and parsed.is_announced)


def _propagated(
    example: Example, steps: tuple[str, ...], at: int, new: Fraction, asked: frozenset[Fraction]
) -> tuple[tuple[str, ...], _Changes]:
    """The steps with a wrong number at one of them, carried on to the end."""
    parsed = parse_step(steps[at])
    stated = parsed.stated
    assert stated is not None, "the step states a number"
    changes = _Changes(asked)
    changes.put(value_of(stated), new, _sources(example, steps, at, parsed, stated))
    # The rest of the step repeats the number as it is now.
    after = [atom for atom in parsed.atoms if atom.number.start >= stated.number.end]
    puts = [(stated.number, new)]
    puts += [(a.number, got) for a in after if (got := changes.of(value_of(a))) is not None]
    made = [*steps[:at], _put_all(steps[at], puts)]
    for later in range(at + 1, len(steps)):
        made.append(_carried_on(example, steps, later, changes))
    return tuple(made), changes


def _sources(
    example: Example, steps: tuple[str, ...], at: int, parsed: ParsedStep, atom: Atom
) -> Set[Fraction]:
    """The numbers of the calculation that gives a value."""
    if atom.equations:
        return parsed.equations[atom.equations[0]].operands
    return {value for _, _, value in _parts(_annotated(example, steps, at) or "")}


def _annotated(example: Example, steps: tuple[str, ...], at: int) -> str | None:
    """Left side of the annotation of a gold step."""
    annotated = example.facts.get(f"equation_{at}")
    # An annotation is about the gold step; a model's step there may hold another equation.
    if annotated is None or example.steps[at : at + 1] != steps[at : at + 1]:
        return None
    return str(annotated).split("=")[0]


def _carried_on(example: Example, steps: tuple[str, ...], at: int, changes: _Changes) -> str:
    """A later step with changed numbers in place of old ones; changed results are added to them."""
    step = steps[at]
    parsed = parse_step(step)
    has_result = find_result(step) is not None
    before = {*changes.new}
    uses = Counter(value_of(atom) for atom in parsed.atoms if atom.kind == "operand")
    puts: list[tuple[Number, Fraction]] = []
    for atom in parsed.atoms:
        value = value_of(atom)
        if atom.kind == "result":
            left = _annotated(example, steps, at) if atom is parsed.stated else None
            new = _new_result(step, parsed, atom, left, puts, changes)
        elif atom.kind == "operand":
            puts += _new_operand(atom, puts, uses, changes)
            continue
        else:
            new = None if has_result and value in changes.asked else changes.of(value)
        if new is not None:
            puts.append((atom.number, new))
    if _CHECK.search(step):
        # "Check: 36 / 4 = 9" gives back a number of the question, which stays what it is.
        for value in changes.new.keys() - before:
            if value in changes.asked:
                del changes.new[value]
    return _put_all(step, puts)


def _new_operand(
    atom: Atom,
    puts: Sequence[tuple[Number, Fraction]],
    uses: Mapping[Fraction, int],
    changes: _Changes,
) -> list[tuple[Number, Fraction]]:
    """What stands in place of an operand, or of the fraction of which it is a part."""
    value, whole = value_of(atom), atom.fraction
    if whole is not None and whole.value is not None:
        new = changes.of(whole.value)
        # "1/4" of the question is one number, and so is a fraction that was worked out.
        if whole.value in changes.asked or any(number == whole for number, _ in puts):
            return []
        if new is not None and whole.value.denominator > 1:
            return [(whole, new)]
    new = changes.of(value)
    if new is None and uses[value] > 1 and not any(number.value == value for number, _ in puts):
        new = changes.shared.get(value)
    return [] if new is None else [(atom.number, new)]


def _new_result(
    step: str,
    parsed: ParsedStep,
    atom: Atom,
    annotated: str | None,
    puts: Sequence[tuple[Number, Fraction]],
    changes: _Changes,
) -> Fraction | None:
    """What an equation comes to after changes; None if its result stays."""
    value = value_of(atom)
    equations = [parsed.equations[number] for number in atom.equations]
    for equation in equations:
        inside = [put for put in puts if equation.start <= put[0].first < equation.sign]
        if inside:
            new = _worked_out(step, equation, inside)
            return _added(value, new, equation.operands, changes)
    known: Set[Fraction] = frozenset[Fraction]().union(*(one.operands for one in equations))
    if annotated is not None and evaluate(annotated) == value:
        operands = _parts(annotated)
        known = {one[2] for one in operands}
        if any(changes.of(number) is not None for number in known):
            new = evaluate("".join(_substituted(annotated, operands, changes)))
            return _added(value, new, known, changes)
    elif not equations:
        return changes.of(value)
    # A value that comes out again from unchanged numbers.
    if changes.sources.get(value) == known:
        return changes.of(value)
    changes.keep(value)
    return None


def _added(
    old: Fraction, new: Fraction | None, operands: Set[Fraction], changes: _Changes
) -> Fraction | None:
    if new is None or new == old:
        return None
    changes.put(old, new, operands)
    return new


def _worked_out(
    step: str, equation: Equation, puts: Sequence[tuple[Number, Fraction]]
) -> Fraction | None:
    """The expression of an equation with other numbers in it, rounded as its result was."""
    pieces: list[str] = []
    end = equation.start
    for number, new in puts:
        # In brackets, since a new value may be a fraction or negative.
        pieces += [step[end : number.start], f"({new})"]
        end = number.end
    value = work_out("".join(pieces) + step[end : equation.sign])
    if value is None or equation.decimals is None:
        return value
    return round(value, equation.decimals)


def _parts(expression: str) -> list[tuple[int, int, Fraction]]:
    """The plain numbers of an annotation."""
    return [
        (match.start(), match.end(), Fraction(match[0]))
        for match in re.finditer(r"\d+(?:\.\d+)?|\.\d+", expression)
    ]


def _substituted(
    expression: str, operands: Sequence[tuple[int, int, Fraction]], changes: _Changes
) -> Iterator[str]:
    last = 0
    for start, end, value in operands:
        new = changes.of(value)
        yield expression[last:start] + (expression[start:end] if new is None else f"({new})")
        last = end
    yield expression[last:]


def _put_all(text: str, puts: Sequence[tuple[Number, Fraction]]) -> str:
    """A text with other numbers; from its end, so that places before stay as they are."""
    for number, new in sorted(puts, key=lambda put: -put[0].first):
        text = put_number(text, number, new)
    return text
