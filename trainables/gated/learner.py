"""What the training loop needs of the gated network: model, optimiser, batches, loss, validation."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from models.gated_network import GatedNetwork
from models.gates import GateMode
from spaces.fields import Value, number
from trainables import batches, losses
from trainables.adam import Adam, Group
from trainables.augmentation import SizesName, augment, to_unit_range
from trainables.contract import parts_note
from trainables.counted import of_all
from trainables.data.cases import LabelTask
from trainables.devices import laid_out
from trainables.gated.data import GatedData
from trainables.gated.metrics import gate_metrics, gate_orders, gated_metrics
from trainables.streams import Streams

CHUNK = 256
#: Value of the field `label_weights` → weights of the labels' counts in the training set.
_LABEL_WEIGHTS = {"inverse_frequency": losses.inverse_label_weights, "effective_number": losses.effective_label_weights}


class GatedLearner:
    """Model, loss, batches and validation of one configuration (see `trainables.loop.Learner`).

    Args:    config: every field of `GatedSpace`.
             data: on the training device.
             seed: of every random stream.
             num_parts: in which a training batch passes, to take less memory.
    """

    def __init__(self, config: Mapping[str, Value], data: GatedData, seed: int, num_parts: int = 1) -> None:
        self.config, self.data, self.num_parts = config, data, num_parts
        streams = Streams.of(seed, data.device)
        self.numpy_generators: Mapping[str, np.random.Generator] = {"batches": streams.batches}
        self.torch_generators: Mapping[str, torch.Generator] = {"device": streams.device}
        self.batches_per_epoch = int(number(config, "batches_per_epoch"))
        statistics = data.channel_statistics if self._is("input_normalisation", "training_set") else None
        self.model = build_model(config, data.cases.tasks, streams.weights, statistics).to(data.device)
        self.optimizer = build_optimizer(self.model, config)
        self.notes: list[str] = parts_note(num_parts)
        self._train = data.cases.splits["train"]
        self.valid_cases = data.cases.splits["valid"]
        self._draw = self._batch_rule()
        self.num_classes = max(len(task.classes) for task in data.cases.tasks)
        ones = torch.ones(len(data.cases.tasks), self.num_classes, device=data.device)
        counts = losses.label_counts(data.codes[torch.from_numpy(self._train).to(data.device)], self.num_classes)
        self._unweighted = ones
        weighted = _LABEL_WEIGHTS.get(str(config["label_weights"]))
        #: None where every batch has its own.
        self.label_weights = None if self._is("label_weights", "batch") else ones if weighted is None else weighted(counts)
        self.gates_l1 = number(config, "gates_l1") if self._is("gates", "learned") else 0.0
        self.task_weights = losses.task_weights(
            len(data.cases.tasks), data.cases.primary_index, number(config, "primary_task_weight")
        ).to(data.device)

    def _is(self, name: str, value: Value) -> bool:
        return self.config[name] == value

    def _batch_rule(self) -> batches.Draw:
        if self._is("sampling", "balanced"):
            return batches.balanced(self.data.cases.labels[self._train], int(number(self.config, "k")))
        return batches.uniform(len(self._train), int(number(self.config, "batch_size")))

    @property
    def strength(self) -> float:
        """Of the augmentation."""
        return number(self.config, "augmentation")

    @property
    def sizes(self) -> SizesName:
        """Of the augmentation at strength 1."""
        return cast(SizesName, self.config["augmentation_sizes"])

    def begin(self, epoch: int) -> None:
        """Nothing: every epoch is like the first."""

    def draw_cases(self) -> Int[np.ndarray, " batch"]:
        """Indices of the next batch's cases."""
        return self._train[self._draw(self.numpy_generators["batches"])]

    def draw_batch(self) -> tuple[Tensor, Tensor]:
        """Augmented images and their class codes."""
        members = self.draw_cases()
        images = to_unit_range(self.data.batch(members))
        images = augment(images, self.strength, self.sizes, self.torch_generators["device"])
        return laid_out(images), self.data.codes[torch.from_numpy(members).to(self.data.device)]

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Eq. 10 without its L2 term, which the optimiser applies, and with an L1 term of the gates, which the paper has not."""
        images, codes = batch
        weights = self.label_weights
        if weights is None:
            weights = losses.inverse_label_weights(losses.label_counts(codes, self.num_classes))
        logits = self.model(images, self.torch_generators["device"], self.num_parts)
        per_task = losses.focal_loss(logits, codes, weights, number(self.config, "focal_beta"))
        return (per_task * self.task_weights).sum() + self.gates_penalty()

    def gates_penalty(self) -> Tensor:
        """gates_l1 · Σ alpha over the gates to other tasks' maps: a sum, so that one gate is pulled alike in any network."""
        if not self.gates_l1 or not self.model.gate_parameters():
            return next(self.model.parameters()).new_zeros(())
        return self.gates_l1 * self.model.gate_values().sum()

    @property
    def valid_batches(self) -> float:
        """Training batches that the validation split would fill."""
        return len(self.valid_cases) / self.batch_size

    @property
    def batch_size(self) -> int:
        """Cases in a batch."""
        return len(self._draw(np.random.default_rng(0)))

    def validate(self) -> dict[str, float]:
        """Metrics of the validation split and its loss, without label weights and L2 (the paper's validation loss)."""
        return self.judged(predict_logits(self.model, self.data, self.valid_cases))

    def judged(self, arrangements: Float[Tensor, "arrangements cases tasks classes"]) -> dict[str, float]:
        """What `validate` gives, from what the model said of the validation split.

        Args:    arrangements: logits with the gates as they are, and in each order of `gate_orders` where gates are learnt.
        """
        logits = arrangements[0]
        codes = self.data.codes[torch.from_numpy(self.valid_cases).to(self.data.device)]
        per_task = losses.focal_loss(logits, codes, self._unweighted, number(self.config, "focal_beta"))
        cases = self.data.cases
        orders = arrangements if self.model.gate_parameters() else arrangements[:1]  # beside members whose gates are learnt
        labels, probabilities = cases.labels[self.valid_cases], [probabilities_of(each) for each in orders]
        found = of_all(lambda counts: gated_metrics(probabilities, labels, cases.tasks, cases.primary, counts), len(labels))
        metrics = {f"valid/{name}": value for name, value in found.items()}
        return {"valid/loss": float((per_task * self.task_weights).sum()), **metrics, **gate_metrics(self.model)}

    def shown(self) -> Mapping[str, Tensor]:
        """`sharing`: what tasks take from each other, blocks × takers × givers; nothing where no gate is learnt."""
        with torch.no_grad():
            return {"sharing": self.model.sharing()} if self.model.gate_parameters() else {}

    def diagnose(self) -> Tensor:
        """Logits of the first validation case."""
        return cast(Tensor, self.model(laid_out(to_unit_range(self.data.batch(self.valid_cases[:1])))))

    def description(self) -> dict[str, Any]:
        """Classes, primary task and fingerprint of the data."""
        return describe(self.data)


def build_model(
    config: Mapping[str, Value],
    tasks: Sequence[LabelTask],
    generator: torch.Generator | None = None,
    statistics: tuple[Sequence[float], Sequence[float]] | None = None,
) -> GatedNetwork:
    """The network that a configuration names, for these tasks.

    Args:    config: every field of `GatedSpace`.
             tasks: names and classes.
             generator: draws the initial weights.
             statistics: mean and deviation by which images are standardised; a checkpoint holds its own.
    """
    mean, deviation = statistics or ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return GatedNetwork(
        num_classes=[len(task.classes) for task in tasks],
        width=number(config, "width"),
        gates=cast(GateMode, config["gates"]),
        gamma_g=number(config, "gamma_g") if config["gates"] == "learned" else 1.0,
        batch_norm=bool(config["batch_norm"]),
        batch_norm_momentum=number(config, "batch_norm_momentum") if config["batch_norm"] else 0.1,
        dropout=number(config, "dropout"),
        input_mean=mean,
        input_deviation=deviation,
        generator=generator,
    ).to(getattr(torch, str(config["precision"])))


def build_optimizer(model: GatedNetwork, config: Mapping[str, Value]) -> Adam:
    """Adam with L2 on kernels only and the gates at their own rate.

    Source: Coppola et al. 2020, Section 5 and Eq. 10; Adam's coupled weight decay adds gamma_L2 · θ to the gradient
    Deviations: epsilon 1e-7, TensorFlow's, with which the authors trained. The gates' rate is 0.1, the paper's 100 × 1e-3,
        whatever `learning_rate` is: a gate's first step moves its logit by gamma_g × 0.1 in every trial.
    """
    rate = number(config, "learning_rate")
    groups = [Group(model.kernel_parameters(), rate, number(config, "l2")), Group(model.bias_parameters(), rate)]
    if config["gates"] == "learned":
        groups.append(Group(model.gate_parameters(), number(config, "gate_learning_rate")))
    return Adam(groups, epsilon=1e-7)


def predict_logits(
    model: GatedNetwork, data: GatedData, members: np.ndarray[Any, np.dtype[np.int64]]
) -> Float[Tensor, "arrangements cases tasks classes"]:
    """Padded logits of some cases, in evaluation mode, in chunks of one size so that a case's result never varies.

    First with the gates as they are, then in each order of `gate_orders`.
    """
    orders = gate_orders(model)
    model.eval()
    with torch.no_grad():
        chunks = (data.batch(members[start : start + CHUNK]) for start in range(0, len(members), CHUNK))
        return torch.cat([model.with_shuffled_gates(laid_out(to_unit_range(chunk)), orders) for chunk in chunks], 1)


def infer(model: GatedNetwork, chunks: Sequence[UInt8[Tensor, "batch 3 size size"]]) -> Float[Tensor, "cases tasks classes"]:
    """Padded logits of batches of images, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(laid_out(to_unit_range(chunk))) for chunk in chunks])


def probabilities_of(logits: Float[Tensor, "cases tasks classes"]) -> Float[np.ndarray, "cases tasks classes"]:
    """Softmax over each task's classes, in double precision so that near ties stay apart."""
    return logits.double().softmax(-1).cpu().numpy()


def describe(data: GatedData) -> dict[str, Any]:
    """What a checkpoint must know of its data."""
    return {
        "classes": {task.name: list(task.classes) for task in data.cases.tasks},
        "primary_task": data.cases.primary,
        "data_fingerprint": data.fingerprint,
    }
