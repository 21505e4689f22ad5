"""What a mistyped or foreign name was meant to be: by meaning before letters."""

import pytest

from search.cli.searching import search
from spaces.attentive import AttentiveSpace
from spaces.fields import fields_of
from spaces.gated import GatedSpace
from spaces.hints import ALIASES, suggest

GATED, ATTENTIVE = list(fields_of(GatedSpace)), list(fields_of(AttentiveSpace))
METRICS = [
    *("train/loss", "valid/loss", "valid/auroc_mean", "valid/PN/auroc", "valid/DIAG/auroc", "valid/DIAG/accuracy"),
    *("valid/PN/recall", "valid/criteria/f1", "valid/structures/map", "model/num_parameters"),
]


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("lr", GATED, "'learning_rate' or 'gate_learning_rate'"),
        ("LR", ATTENTIVE, "'encoder_learning_rate' or 'attention_learning_rate' or 'branch_learning_rate'"),
        ("image_size", GATED, "'size_px'"),
        ("img-size", ATTENTIVE, "'size_px'"),
        ("bs", GATED, "'batch_size'"),
        ("wd", ATTENTIVE, "'weight_decay'"),
        ("epochs", GATED, "'--max-epochs'"),
        ("Batch_Size", GATED, "'batch_size'"),
        ("gama_g", GATED, "'gamma_g'"),
        ("AUROC", METRICS, "'valid/DIAG/auroc' or 'valid/auroc_mean' or 'valid/PN/auroc'"),
        ("roc_auc", METRICS, "'valid/DIAG/auroc' or 'valid/auroc_mean' or 'valid/PN/auroc'"),
        ("DIAG/auc", METRICS, "'valid/DIAG/auroc'"),
        ("val/loss", METRICS, "'valid/loss'"),
        ("acc", METRICS, "'valid/DIAG/accuracy'"),
        ("mAP", METRICS, "'valid/structures/map'"),
        ("valid/PN/recal", METRICS, "'valid/PN/recall'"),
    ],
)
def test_a_hint_is_what_was_meant(name: str, known: list[str], hint: str) -> None:
    assert suggest(name, known, first=("valid/DIAG/",)) == f" (did you mean {hint}?)"


def test_there_is_none_where_nothing_is_near() -> None:
    assert suggest("zzz", GATED) == suggest("", METRICS) == ""


def test_every_alias_stands_for_a_field_a_flag_or_a_metric() -> None:
    flags = {flag for option in search.params for flag in option.opts}
    fields = {*GATED, *ATTENTIVE}
    metrics = {"auroc", "auroc_mean", "average_precision", "recall", "accuracy", "f1", "sensitivity", "specificity", "precision"}
    metrics |= {"calibration_error", "calibration_error_mean", "iou_mean", "iou", "structures/map", "valid/loss"}
    metrics |= {"model/num_parameters", "model/latency_ms"}
    for alias, meanings in ALIASES.items():
        known = [m for m in meanings if m in flags | fields | metrics or any(name.endswith(f"_{m}") for name in fields)]
        assert known == list(meanings), alias
