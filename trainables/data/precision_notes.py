"""How sure a metric can be of the cases that there are, said before anything is trained."""

from trainables.data.cases import MISSING, CaseSet, melanoma_class

#: An AUROC as papers report them on such data.
_AREA = 0.85
#: Half an interval's width that is worth a line.
_WORTH_SAYING = 0.05
_WORDS = {"valid": "validation", "test": "test"}


def auroc_deviation(area: float, num_positive: int, num_negative: int) -> float:
    """Standard error of an area under the ROC curve over so many cases, whose scores are normal with one spread.

    Source: Bamber 1975, Equation 10; both chances that two cases of a kind lie on the right side of one of the other are the
        bivariate normal's at a correlation of one half
    Deviations: none; cases of one patient count as if they were of several, so that it is the least it can be.
    """
    from scipy.special import ndtri, owens_t  # most that reads data needs none of it

    both = area - 2 * owens_t(ndtri(area), (1 / 3) ** 0.5) - area**2
    return float(((area * (1 - area) + (num_positive + num_negative - 2) * both) / (num_positive * num_negative)) ** 0.5)


def precision_notes(cases: CaseSet) -> list[str]:
    """One line on how far an AUROC of the diagnosis may be from the truth on each split that is measured; none where it is known.

    Args:    cases: labels and splits.
    """
    if not cases.primary:
        return []
    task, column = cases.tasks[cases.primary_index], cases.primary_index
    parts = []
    for split, word in _WORDS.items():
        codes = cases.labels[cases.splits[split], column] if split in cases.splits else cases.labels[:0, column]
        codes = codes[codes != MISSING]
        counts = [int((codes == code).sum()) for code in range(len(task.classes))]
        melanoma = melanoma_class(task.classes)
        present = [count for count in counts if 0 < count < len(codes)]
        positive = counts[melanoma] if melanoma is not None else min(present, default=0)
        if not 0 < positive < len(codes):
            continue
        name = task.classes[melanoma if melanoma is not None else counts.index(positive)]
        half = 1.96 * auroc_deviation(_AREA, positive, len(codes) - positive)
        if half > _WORTH_SAYING:
            parts.append(f"±{half:.2f} on the {word} split ({len(codes)} cases, {positive} of them {name})")
    if not parts:
        return []
    return [
        f"{task.name}: an AUROC of {_AREA} is known to {' and '.join(parts)}: 95 %, by the luck of the cases alone; what differs"
        " less between trials is mostly luck, and so is the best of many"
    ]
