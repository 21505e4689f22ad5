"""Label weights, focal loss and L2 against plain double loops, and Adam's weight decay against the L2 term."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.gated_network import GatedNetwork
from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables import losses
from trainables.gated.learner import build_optimizer

NUM_CLASSES = (5, 3, 2)


def batch(cases: int = 30, *, missing: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Padded logits and class codes, some of them missing."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(cases, len(NUM_CLASSES), max(NUM_CLASSES), generator=generator)
    for task, count in enumerate(NUM_CLASSES):
        logits[:, task, count:] = -math.inf
    codes = torch.stack([torch.randint(count, (cases,), generator=generator) for count in NUM_CLASSES], 1)
    codes[torch.rand(codes.shape, generator=generator) < missing] = -1
    return logits, codes


def plain_label_weights(codes: Tensor) -> list[list[float]]:
    """Eq. 8, label by label."""
    found = []
    for task in range(codes.shape[1]):
        counts = [0] * max(NUM_CLASSES)
        for case in range(len(codes)):
            if codes[case, task] >= 0:
                counts[int(codes[case, task])] += 1
        found.append([max(counts) / count if count else 0.0 for count in counts])
    return found


def plain_focal_loss(logits: Tensor, codes: Tensor, weights: list[list[float]], beta: float) -> list[float]:
    """Eq. 9 and the first term of Eq. 10, case by case."""
    found = []
    for task, count in enumerate(NUM_CLASSES):
        total, labelled = 0.0, 0
        for case in range(len(codes)):
            code = int(codes[case, task])
            if code < 0:
                continue
            exponentials = [math.exp(float(logits[case, task, label])) for label in range(count)]
            probability = exponentials[code] / sum(exponentials)
            total -= weights[task][code] * (1 - probability) ** beta * math.log(probability)
            labelled += 1
        found.append(total / labelled if labelled else 0.0)
    return found


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.9])
def test_label_weights_are_equation_8(missing: float) -> None:
    _, codes = batch(missing=missing)
    weights = losses.inverse_label_weights(losses.label_counts(codes, max(NUM_CLASSES)))
    torch.testing.assert_close(weights, torch.tensor(plain_label_weights(codes)))


def test_label_weights_of_a_hand_worked_batch() -> None:
    codes = torch.tensor([[0, 1], [0, -1], [0, 1], [0, -1], [1, -1], [2, -1], [2, 1]])
    counts = losses.label_counts(codes, 4)
    assert counts.tolist() == [[4, 1, 2, 0], [0, 3, 0, 0]]
    assert losses.inverse_label_weights(counts).tolist() == [[1, 4, 2, 0], [0, 1, 0, 0]]


def test_a_task_without_a_label_weighs_nothing() -> None:
    weights = losses.inverse_label_weights(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    assert weights.tolist() == [[0, 0], [2, 1]]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_focal_loss_is_equation_9(beta: float, missing: float) -> None:
    logits, codes = batch(missing=missing)
    weights = plain_label_weights(codes)
    found = losses.focal_loss(logits, codes, torch.tensor(weights), beta)
    torch.testing.assert_close(found, torch.tensor(plain_focal_loss(logits, codes, weights, beta)), rtol=1e-5, atol=1e-6)


def test_focal_loss_of_a_hand_worked_case() -> None:
    logits = torch.tensor([[[math.log(3.0), 0.0]]])  # probabilities 3/4 and 1/4
    weights = torch.tensor([[2.0, 5.0]])
    right = losses.focal_loss(logits, torch.tensor([[0]]), weights, 2.0)
    wrong = losses.focal_loss(logits, torch.tensor([[1]]), weights, 2.0)
    assert right.item() == pytest.approx(2 * (1 / 4) ** 2 * math.log(4 / 3))
    assert wrong.item() == pytest.approx(5 * (3 / 4) ** 2 * math.log(4))


def test_without_focus_and_weights_the_loss_is_cross_entropy() -> None:
    logits, codes = batch()
    found = losses.focal_loss(logits, codes, torch.ones(len(NUM_CLASSES), max(NUM_CLASSES)), 0.0)
    for task, count in enumerate(NUM_CLASSES):
        expected = torch.nn.functional.cross_entropy(logits[:, task, :count], codes[:, task], ignore_index=-1)
        assert found[task].item() == pytest.approx(expected.item(), rel=1e-5)


def test_equation_10_adds_tasks_and_half_the_squared_kernels() -> None:
    logits, codes = batch()
    kernels = [torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([3.0])]
    weights = plain_label_weights(codes)
    squares = 0.0
    for kernel in kernels:
        for value in kernel.flatten().tolist():
            squares += value**2 / 2
    expected = sum(plain_focal_loss(logits, codes, weights, 2.0)) + 0.01 * squares
    found = losses.focal_loss(logits, codes, torch.tensor(weights), 2.0).sum() + losses.l2_penalty(kernels, 0.01)
    assert losses.l2_penalty(kernels, 0.01).item() == pytest.approx(0.01 * (1 + 4 + 0.25 + 9) / 2)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_missing_labels_change_nothing_but_the_count() -> None:
    logits, codes = batch(missing=0.0)
    extended = torch.cat([logits, 20 * batch(seed=1)[0]])
    missing = torch.cat([codes, torch.full_like(codes, -1)])
    weights = torch.tensor(plain_label_weights(codes))
    torch.testing.assert_close(losses.focal_loss(extended, missing, weights, 2.0), losses.focal_loss(logits, codes, weights, 2.0))


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_a_task_without_a_labelled_case_costs_nothing_and_its_gradient_is_zero(beta: float) -> None:
    logits, codes = batch()
    codes[:, 1] = -1
    logits.requires_grad_()
    weights = losses.inverse_label_weights(losses.label_counts(codes, max(NUM_CLASSES)))
    per_task = losses.focal_loss(logits, codes, weights, beta)
    per_task.sum().backward()
    assert per_task[1].item() == 0
    assert per_task[0].item() > 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[:, 1].any()
    assert logits.grad[:, 0].any()


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("margin", [0.0, 8.0, 17.0, 40.0, 200.0])
def test_the_gradient_is_finite_however_certain_a_prediction(beta: float, margin: float) -> None:
    for code in (0, 1):
        logits = torch.tensor([[[margin, 0.0, -math.inf]]], requires_grad=True)
        loss = losses.focal_loss(logits, torch.tensor([[code]]), torch.ones(1, 3), beta)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()
        if code == 1:
            assert loss.item() == pytest.approx(margin or (0.5**beta * math.log(2)), rel=1e-2)


@pytest.mark.parametrize(
    ("primary_weight", "expected"),
    [(1.0, [1, 1, 1, 1]), (2.0, [0.8, 1.6, 0.8, 0.8]), (5.0, [0.5, 2.5, 0.5, 0.5]), (0.2, [1.25, 0.25, 1.25, 1.25])],
)
def test_task_weights_add_up_to_the_tasks(primary_weight: float, expected: list[float]) -> None:
    weights = losses.task_weights(4, 1, primary_weight)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))


def small_network(**settings: Any) -> GatedNetwork:
    """In double precision, with gates and biases that are not zero, so that a decay would show."""
    generator = torch.Generator().manual_seed(0)
    network = GatedNetwork(num_classes=(3, 2), width=0.5, dropout=0.0, generator=generator, **settings).double()
    with torch.no_grad():
        for parameter in [*network.gate_parameters(), *network.bias_parameters()]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network


def loss_of(network: GatedNetwork) -> Tensor:
    images = torch.rand(4, 3, 91, 91, generator=torch.Generator().manual_seed(1)).double()
    codes = torch.tensor([[0, 1], [2, 0], [1, 1], [0, -1]])
    return losses.focal_loss(network(images), codes, torch.ones(2, 3, dtype=torch.float64), 2.0).sum()


def test_weight_decay_of_adam_is_the_l2_term_of_equation_10() -> None:
    config = complete(GatedSpace, {"l2": 0.01, "learning_rate": 3e-3, "gate_learning_rate": 3e-2})
    decayed, penalised, neither = small_network(), small_network(), small_network()
    optimizer = build_optimizer(decayed, config)
    groups = [
        {"params": [*network.kernel_parameters(), *network.bias_parameters()], "lr": 3e-3} for network in (penalised, neither)
    ]
    gates = [{"params": network.gate_parameters(), "lr": 3e-2} for network in (penalised, neither)]
    plain = [torch.optim.Adam([group, gate], eps=1e-7) for group, gate in zip(groups, gates, strict=True)]
    for _ in range(2):
        for network, stepped in ((decayed, optimizer), (penalised, plain[0]), (neither, plain[1])):
            penalty = losses.l2_penalty(network.kernel_parameters(), 0.01) if network is penalised else 0.0
            stepped.zero_grad()
            (loss_of(network) + penalty).backward()
            stepped.step()
    started = dict(small_network().named_parameters())
    for name, parameter in decayed.named_parameters():
        torch.testing.assert_close(parameter, penalised.get_parameter(name), rtol=0, atol=1e-6)
        assert (parameter - started[name]).abs().max() > 1e-3, f"{name} did not move"
    apart = max((decayed.get_parameter(name) - neither.get_parameter(name)).abs().max().item() for name in started)
    assert apart > 1e-3, "without L2 the result must be another one"


def test_l2_shrinks_kernels_and_leaves_biases_and_gates() -> None:
    network = small_network()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = build_optimizer(network, complete(GatedSpace, {"l2": 0.01}))
    sum((parameter * 0).sum() for parameter in network.parameters()).backward()
    optimizer.step()
    kernels = {id(parameter) for parameter in network.kernel_parameters()}
    for name, parameter in network.named_parameters():
        if id(parameter) in kernels:
            large = before[name].abs() > 0.01
            assert (parameter.abs() < before[name].abs())[large].all(), name
        else:
            assert torch.equal(parameter, before[name]), name


def test_effective_numbers_by_hand() -> None:
    """One over (1 - .999^n) / .001, scaled to a mean of 1 over the labels that occur."""
    counts = torch.tensor([[400.0, 40.0, 4.0, 0.0], [7.0, 7.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    found = losses.effective_label_weights(counts)
    raw = [1 / ((1 - 0.999**n) / (1 - 0.999)) for n in (400, 40, 4)]
    expected = [[3 * value / sum(raw) for value in raw] + [0.0], [1.0, 1.0, 0.0, 0.0], [0.0] * 4]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=0)
    flatter, inverse = found[0, 2] / found[0, 0], losses.inverse_label_weights(counts)[0, 2]
    assert flatter < 0.85 * inverse, "many cases of a label tell less than as many times one case's"


def test_gates_learn_at_their_own_rate() -> None:
    network = small_network()
    optimizer = build_optimizer(network, complete(GatedSpace, {"learning_rate": 2e-3, "gate_learning_rate": 0.25}))
    rates = {id(parameter): group.rate for group in optimizer.groups for parameter in group.parameters}
    assert [rates[id(parameter)] for parameter in network.gate_parameters()] == [0.25] * 4
    others = [*network.kernel_parameters(), *network.bias_parameters()]
    assert {rates[id(parameter)] for parameter in others} == {2e-3}
    assert len(rates) == len(list(network.parameters()))


@pytest.mark.parametrize("gamma_g", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("learning_rate", [1e-4, 3e-2])
def test_a_gates_first_step_moves_its_logit_by_gamma_g_times_its_own_rate(learning_rate: float, gamma_g: float) -> None:
    network = small_network(gamma_g=gamma_g)
    with torch.no_grad():
        for raw in network.gate_parameters():
            raw.zero_()
    config = complete(GatedSpace, {"learning_rate": learning_rate, "gamma_g": gamma_g})
    optimizer = build_optimizer(network, config)
    weights = [torch.randn(raw.shape, generator=torch.Generator().manual_seed(5)).sign() for raw in network.gate_parameters()]
    sum((raw * weight).sum() for raw, weight in zip(network.gate_parameters(), weights, strict=True)).backward()
    optimizer.step()
    for raw, weight in zip(network.gate_parameters(), weights, strict=True):
        torch.testing.assert_close(gamma_g * raw.detach(), -gamma_g * 0.1 * weight.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("gates", ["off", "open"])
def test_gates_that_are_not_learnt_need_no_rate(gates: str) -> None:
    network = small_network(gates=gates)
    optimizer = build_optimizer(network, complete(GatedSpace, {"gates": gates}))
    assert sum(len(group.parameters) for group in optimizer.groups) == len(list(network.parameters()))
