"""Models on the same cases as one picture: ROC curves, calibration, and what decisions by them are worth."""

from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from search.analysis.comparison import THRESHOLDS, Compared, Comparison
from search.analysis.figures import COLOURS, panels, plain_text, shortened


@plain_text
def comparison_figure(found: Compared, measured: Comparison) -> Figure:
    """Three panels, a colour a model.

    Args:    found: the models.
             measured: what was found of them.
    """
    figure, (roc, calibration, decision) = panels(3, columns=3, width=3.9, height=4.2)
    for colour, model in zip(COLOURS * 3, found.models, strict=False):
        name = shortened(model.name, 28)
        false, true, _ = roc_curve(found.positive, model.probabilities)
        roc.plot(false, true, color=colour, label=f"{name} {measured.metrics['AUROC'][model.name].value:.3f}")
        bins = measured.reliability[model.name]
        calibration.plot([p for p, _, _ in bins], [s for _, s, _ in bins], "o-", color=colour, markersize=4, label=name)
        decision.plot(THRESHOLDS, measured.net_benefit[model.name], color=colour, label=name)
    for axes in (roc, calibration):
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
    roc.set(title=f"ROC of {shortened(measured.label)}, with its area", xlabel="1 − specificity", ylabel="sensitivity")
    calibration.set(title="Calibration", xlabel=f"probability of {shortened(measured.label)}", ylabel="share that is")
    prevalence = measured.num_positive / measured.num_cases
    decision.plot(THRESHOLDS, measured.net_benefit["all"], color="#888888", linestyle="--", linewidth=1, label="all treated")
    decision.axhline(0, color="#888888", linewidth=1, label="none treated")
    decision.set_ylim(-0.25 * prevalence, 1.05 * prevalence)
    decision.set(title="Decision curve", xlabel="probability from which one treats", ylabel="net benefit")
    roc.legend(frameon=False, fontsize=7, loc="lower right")
    decision.legend(frameon=False, fontsize=7)
    for axes in (roc, calibration, decision):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(9)
    return figure
