"""A problem of any world written out as one text, for comparison with documents."""


def write_out(problem, *, direct=False):
    """``<bos> Q ... ? <think> ... </think> A ... <eos>``, or the direct answer."""
    chain = [] if direct else ["<think>", *problem.steps, "</think>"]
    return " ".join(["<bos>", problem.question, *chain, "A", problem.answer, "<eos>"])
