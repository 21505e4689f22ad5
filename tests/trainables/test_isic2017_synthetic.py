"""The synthetic ISIC 2017 set: as frequent as Table 1, the same for the same seed, and true to what it says it shows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.isic2017 import read
from trainables.data.isic2017_drawing import draw_case
from trainables.data.isic2017_synthetic import covered, draw_labels, superpixels, write
from trainables.data.masks import inspect, masks_of, read_planes
from trainables.data.segmented import ATTRIBUTES, STRUCTURES, SegmentedCases
from trainables.tasks import TASKS

#: Table 1, per cent of 2000 training images.
FREQUENCIES = {"pigment_network": 56.55, "negative_network": 6.30, "milia_like_cyst": 28.65, "streaks": 5.80}


def digest(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 cases of 64 px in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("drawn") / "a set"
    write(folder, 60, 64, 5)
    return folder


@pytest.fixture
def cases(drawn: Path) -> SegmentedCases:
    return read(drawn)


def test_labels_are_as_frequent_as_in_table_1() -> None:
    present, kinds = draw_labels(2000, np.random.default_rng(0))
    assert {name: int(shown.sum()) for name, shown in present.items()} == {
        "pigment_network": 1131,
        "negative_network": 126,
        "milia_like_cyst": 573,
        "streaks": 116,
    }
    assert {name: 100 * float(shown.mean()) for name, shown in present.items()} == pytest.approx(FREQUENCIES)
    assert (kinds.count("melanoma"), kinds.count("keratosis"), kinds.count("nevus")) == (374, 254, 1372)


@pytest.mark.parametrize("num_cases", [30, 47, 333])
def test_smaller_sets_have_the_same_frequencies_within_rounding(num_cases: int) -> None:
    present, kinds = draw_labels(num_cases, np.random.default_rng(1))
    for name, per_cent in FREQUENCIES.items():
        assert int(present[name].sum()) == max(2, round(num_cases * per_cent / 100))
    assert kinds.count("melanoma") == round(num_cases * 0.187)
    assert kinds.count("keratosis") == round(num_cases * 0.127)
    assert len(kinds) == num_cases


def test_melanoma_is_likelier_with_streaks_and_with_a_negative_network() -> None:
    present, kinds = draw_labels(40000, np.random.default_rng(2))
    melanoma = np.array(kinds) == "melanoma"

    def odds(shown: np.ndarray) -> float:
        return float(melanoma[shown].mean() / (1 - melanoma[shown].mean()))

    for name, factor in (("streaks", 5.0), ("negative_network", 4.0)):
        assert 0.5 * factor < odds(present[name]) / odds(~present[name]) < 1.5 * factor
    for name in ("pigment_network", "milia_like_cyst"):
        assert odds(present[name]) / odds(~present[name]) == pytest.approx(1, abs=0.15)


def test_the_same_seed_writes_the_same_bytes_and_another_others(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        write(tmp_path / name, 30, 32, seed)
    one, same, other = (digest(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one != other
    assert len([name for name in one if name.endswith(".jpg")]) == 30


def test_what_is_written_reads_back_without_a_problem(cases: SegmentedCases) -> None:
    found = inspect(cases)
    assert (found.problems, found.warnings, found.twins) == ([], [], [])
    assert [note.partition(":")[0] for note in found.notes] == ["melanoma"]
    assert {split: len(members) for split, members in cases.cases.splits.items()} == {"train": 36, "valid": 15, "test": 9}
    assert cases.attributes_known.all()
    assert cases.presence[:, 2:].sum(0).tolist() == [34, 4, 17, 3]
    assert int(cases.cases.labels.sum()) == 11
    assert len(set(cases.cases.names)) == 60


def test_files_are_those_of_the_challenge(drawn: Path) -> None:
    assert sorted(place.name for place in drawn.iterdir()) == sorted(
        f"ISIC-2017_{part}_{kind}"
        for part in ("Training", "Validation", "Test_v2")
        for kind in ("Data", "Part1_GroundTruth", "Part2_GroundTruth", "Part3_GroundTruth.csv")
    )
    header = (drawn / "ISIC-2017_Training_Part3_GroundTruth.csv").read_text().splitlines()[0]
    assert header == "image_id,melanoma,seborrheic_keratosis"
    with Image.open(next((drawn / "ISIC-2017_Training_Part1_GroundTruth").iterdir())) as lesion:
        assert (lesion.mode, lesion.size) == ("L", (64, 64))


def test_every_case_shows_some_lesion_and_some_skin(cases: SegmentedCases) -> None:
    for index in range(60):
        found = masks_of(*read_planes(cases, index), cases.annotations[index])
        shares = dict(zip(STRUCTURES, found.mean((1, 2)), strict=True))
        assert shares["skin"] > 0.1
        assert shares["lesion"] + sum(shares[name] for name in ATTRIBUTES) > 0.15
        for structure, name in enumerate(STRUCTURES):
            assert bool(found[structure].any()) or not cases.presence[index, structure], (index, name)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_annotations_cover_what_is_drawn(attribute: str) -> None:
    shares = []
    for seed in range(6):
        drawing = draw_case("nevus", [attribute], False, 96, np.random.default_rng(seed))
        indices = superpixels(drawing)
        region = drawing.regions[attribute]
        assert region.any()
        marked = covered(indices, region)[indices]
        shares.append((float(marked[region].mean()), float(region.sum() / marked.sum())))
    covered_share, filled_share = np.mean(shares, axis=0)
    assert covered_share > 0.8
    assert filled_share > 0.3


def test_superpixels_are_numbered_without_gaps() -> None:
    drawing = draw_case("melanoma", ["streaks"], True, 64, np.random.default_rng(0))
    indices = superpixels(drawing)
    assert np.unique(indices).tolist() == list(range(int(indices.max()) + 1))
    assert 30 < indices.max() < 300
    assert covered(indices, None).tolist() == [False] * (int(indices.max()) + 1)


def test_a_superpixel_is_marked_from_a_quarter_on_and_the_most_covered_always() -> None:
    indices = np.repeat(np.arange(3), 12).reshape(6, 6)
    region = np.zeros((6, 6), dtype=bool)
    region[0, :3] = region[2, :2] = True
    assert covered(indices, region).tolist() == [True, False, False], "3 of 12 cells, then 2 of 12"
    region[:] = False
    region[5, 0] = True
    assert covered(indices, region).tolist() == [False, False, True]


def test_what_is_drawn_can_be_seen() -> None:
    for attribute in ATTRIBUTES:
        with_it, without = (draw_case("nevus", shown, False, 96, np.random.default_rng(4)) for shown in ([attribute], []))
        assert np.array_equal(with_it.lesion, without.lesion)
        region = with_it.regions[attribute]
        change = np.abs(with_it.pixels.astype(int) - without.pixels.astype(int)).mean(-1)
        assert change[region].mean() > 10, attribute
        assert without.regions == {}


@pytest.mark.parametrize(("num_cases", "size_px"), [(29, 64), (0, 64), (30, 31)])
def test_too_few_cases_or_pixels_are_refused(tmp_path: Path, num_cases: int, size_px: int) -> None:
    expected = rf"must have 30 cases and 32 px or more; got {num_cases} and {size_px} \(--cases, --size\)"
    with pytest.raises(ValueError, match=expected):
        write(tmp_path / "a set", num_cases, size_px, 0)
    assert not (tmp_path / "a set").exists()


@pytest.mark.parametrize("seed", range(12))
def test_a_small_set_has_both_diagnoses_in_every_split_that_a_search_needs(seed: int, tmp_path: Path) -> None:
    """`data synth` prints a search as the next step; its default objective needs both diagnoses in validation."""
    assert TASKS["attentive"].objective.metric == "valid/melanoma/auroc"
    write(tmp_path / "a set", 50, 32, seed)
    counts = read(tmp_path / "a set").counts()
    for split in ("train", "valid"):
        assert min(counts[split]["melanoma"].values()) > 0, counts[split]["melanoma"]
