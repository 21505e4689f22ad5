"""What a name that does not exist was probably meant to be: by meaning first, by its letters last."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

#: What people call things → names, or ends of names, of ours; one that begins with `--` is a flag, which is always there.
#: Written without capitals, blanks and underscores.
ALIASES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "eta", "stepsize", "learnrate"), ("learning_rate",)),
    **dict.fromkeys(("bs", "batch", "batchsize", "minibatch"), ("batch_size",)),
    **dict.fromkeys(("imagesize", "imgsize", "imsize", "inputsize", "resolution", "size", "px"), ("size_px",)),
    **dict.fromkeys(("resize", "resizeto"), ("crop_from_px",)),
    **dict.fromkeys(("wd", "l2", "decay", "weightdecay", "regularisation", "regularization"), ("weight_decay", "l2")),
    **dict.fromkeys(("beta1", "momentum"), ("adam_beta1", "batch_norm_momentum")),
    **dict.fromkeys(("beta2",), ("adam_beta2",)),
    **dict.fromkeys(("bn", "batchnorm", "norm"), ("batch_norm",)),
    **dict.fromkeys(("dropoutrate", "pdrop", "droprate", "dropoutprob"), ("dropout",)),
    **dict.fromkeys(("aug", "augment", "augmentations"), ("augmentation",)),
    **dict.fromkeys(("earlystopping", "earlystoppingpatience"), ("patience",)),
    **dict.fromkeys(("gamma", "focalgamma", "focal"), ("focal_beta", "focal_theta", "gamma_g")),
    **dict.fromkeys(("classweights", "classweight", "weights"), ("label_weights", "encoder_weights", "melanoma_weight")),
    **dict.fromkeys(("pretrained", "backboneweights", "checkpoint"), ("encoder_weights",)),
    **dict.fromkeys(("amp", "fp16", "bf16", "mixedprecision", "dtype"), ("precision",)),
    **dict.fromkeys(("epochs", "epoch", "numepochs", "nepochs", "maxepochs"), ("--max-epochs",)),
    **dict.fromkeys(("trials", "numtrials", "ntrials", "numsamples"), ("--trials",)),
    **dict.fromkeys(("seed", "randomstate"), ("--seed",)),
    **dict.fromkeys(("gpus", "numgpus", "gpu"), ("--gpus-per-trial",)),
    **dict.fromkeys(("workers", "numworkers", "njobs"), ("--max-concurrent",)),
    **dict.fromkeys(("auc", "auroc", "rocauc", "aucroc", "rocaucscore"), ("auroc_mean", "auroc")),
    **dict.fromkeys(("ap", "auprc", "averageprecision"), ("average_precision",)),
    **dict.fromkeys(("acc", "accuracy", "accuracyscore"), ("accuracy",)),
    **dict.fromkeys(("balancedaccuracy", "bacc", "balancedaccuracyscore"), ("recall",)),
    **dict.fromkeys(("sensitivity", "sens", "tpr", "recall"), ("recall", "sensitivity")),
    **dict.fromkeys(("specificity", "spec", "tnr"), ("specificity",)),
    **dict.fromkeys(("ppv",), ("precision",)),
    **dict.fromkeys(("f1score",), ("f1",)),
    **dict.fromkeys(("ece",), ("calibration_error", "calibration_error_mean")),
    **dict.fromkeys(("iou", "jaccard", "meaniou", "miou", "dice"), ("iou_mean", "iou")),
    **dict.fromkeys(("map", "meanaverageprecision"), ("structures/map",)),
    **dict.fromkeys(("valloss", "validloss", "loss"), ("valid/loss",)),
    **dict.fromkeys(("params", "numparams", "parameters", "size"), ("model/num_parameters", "size_px")),
    **dict.fromkeys(("latency", "inferencetime"), ("model/latency_ms",)),
}
_MOST = 3
_FIRST_WORDS = ("valid/", "val/", "test/", "train/", "validation/")


def suggest(name: str, known: Iterable[str], first: Sequence[str] = (), aliases: Mapping[str, tuple[str, ...]] = ALIASES) -> str:
    """`" (did you mean 'x'?)"` for a name that is not known; up to three where several are meant, nothing if none is near.

    Looked for in this order: the same but for capitals, blanks and underscores; the end of a known name (`auroc` of
    `valid/melanoma/auroc`); what the name means (`aliases`), in whole or in its last part; the nearest in letters.

    Args:    name: what was written.
             known: the names that there are.
             first: beginnings of names that stand before others, the primary task's metrics for instance.
             aliases: what people call things → what that means; empty for names that users choose, a search's for instance.
    """
    names = list(known)
    found = _same(name, names) or _meant(name, names, aliases) or _ends(name, names)
    if not found:
        lower = {given.lower(): given for given in names}
        found = [lower[near] for near in difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)]
    chosen = sorted(found, key=lambda given: not given.startswith(tuple(first)))[:_MOST]
    return f" (did you mean {' or '.join(map(repr, chosen))}?)" if chosen else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _same(name: str, names: Sequence[str]) -> list[str]:
    return [given for given in names if _plain(given) == _plain(name)]


def _last_part(name: str) -> str:
    return _plain(name.rpartition("/")[2])


def _ends(name: str, names: Sequence[str]) -> list[str]:
    """Names that end with this one, from a slash or an underscore on; a `val/` in front counts for nothing."""
    own = next((name[len(word) :] for word in _FIRST_WORDS if name.lower().startswith(word)), name).lower()
    return [given for given in names if given.lower().endswith((f"/{own}", f"_{own}"))]


def _meant(name: str, names: Sequence[str], aliases: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names that an alias stands for; of `melanoma/auc` only those of melanoma, where there are any."""
    meanings = aliases.get(_plain(name)) or aliases.get(_last_part(name), ())
    found = [meaning for meaning in meanings if meaning.startswith("--")]
    for meaning in meanings:
        found += [given for given in names if given == meaning or given.endswith((f"/{meaning}", f"_{meaning}"))]
    parts = [part.lower() for part in name.split("/")[:-1]]
    narrow = [given for given in found if all(part in given.lower().split("/") for part in parts)]
    return list(dict.fromkeys(narrow or found))
