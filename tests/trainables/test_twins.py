"""Images that look the same: found over splits first, and never where there are none."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from trainables.data import DATASETS, images, read
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.contents import contents_of
from trainables.data.drawing import draw_lesion
from trainables.data.images import decode, look_at
from trainables.data.segmented import SegmentedCases
from trainables.data.twins import DISTANCE, HASHED_PX, MOST_LISTED, near_twins, picture_hash
from trainables.errors import DataError

LABELS = {"DIAG": "NEV", "PN": "TYP", "BWV": "ABS", "VS": "ABS", "PIG": "REG", "STR": "ABS", "DaG": "REG", "RS": "ABS"}


def lesion(seed: int, side: int = 200) -> Image.Image:
    """A drawn lesion."""
    return Image.fromarray(draw_lesion(LABELS, side, np.random.default_rng(seed)))


def case_set(number: int, valid: int = 0) -> CaseSet:
    """As many cases; the last ones validate."""
    names = tuple(f"{index}.png" for index in range(number))
    return CaseSet(
        source="table:x.csv",
        images=tuple(Path("/images") / name for name in names),
        names=names,
        rows=tuple(range(2, number + 2)),
        tasks=(LabelTask("diagnosis", ("m", "n")),),
        labels=np.zeros((number, 1), dtype=np.int64),
        splits={"train": np.arange(number - valid), "valid": np.arange(number - valid, number)},
        primary="diagnosis",
    )


def test_pairs_over_splits_come_first_and_say_how_near_they_are() -> None:
    """Hashes by hand: 1 and 0 differ in two bits, 3 and 2 in none; 4 is three bits from 0 and far from all others."""
    hashes = [0b0, 0b11, 0xFF00, 0xFF00, 0b111 << 20]
    lines = near_twins(case_set(5, valid=2), ["a", "b", "c", "d", "e"], hashes)
    end = "of 64 bits of their perceptual hashes differ)"
    assert lines == [
        f"image 3.png (line 5) in valid looks like its twin 2.png (line 4) in train (0 {end}",
        f"image 1.png (line 3) looks like its twin 0.png (line 2), both in train (2 {end}",
    ]


def test_equal_files_are_listed_in_a_split_and_refused_over_two() -> None:
    cases, contents = case_set(3, valid=1), ["a", "a", "a"]
    assert near_twins(cases, contents, [7, 7, 7]) == [
        "image 1.png (line 3) looks like its twin 0.png (line 2), both in train (the same file)"
    ]
    assert len(cases.twins(contents)) == 1


def test_what_could_not_be_opened_or_shows_nothing_has_no_twin() -> None:
    assert near_twins(case_set(4), ["", "", "c", "d"], [None, None, 5, None]) == []
    assert picture_hash(np.full((3, HASHED_PX, HASHED_PX), 90, dtype=np.uint8)) is None


def test_one_file_that_stands_twice_is_not_its_own_twin() -> None:
    cases = case_set(2)
    assert near_twins(replace(cases, images=(cases.images[0],) * 2), ["a", "a"], [1, 1]) == []


def test_of_many_pairs_some_are_listed_and_the_others_counted() -> None:
    number = 30
    lines = near_twins(case_set(number, valid=1), [str(index) for index in range(number)], [0] * number)
    assert len(lines) == MOST_LISTED + 1
    assert all(" in valid looks like its twin " in line for line in lines[:MOST_LISTED])
    assert lines[-1] == f"and {number * (number - 1) // 2 - MOST_LISTED} more pairs of twins"


@pytest.mark.parametrize("how", ["smaller", "poor", "PNG", "brighter"])
def test_an_image_that_was_saved_otherwise_is_a_twin(how: str, tmp_path: Path) -> None:
    far = 0
    for seed in range(8):
        image, buffer = lesion(seed), io.BytesIO()
        changed = {
            "smaller": lambda image=image: image.resize((100, 100)),
            "brighter": lambda image=image: ImageEnhance.Brightness(image).enhance(1.05),
        }.get(how, lambda image=image: image)()
        changed.save(
            buffer, "PNG" if how == "PNG" else "JPEG", **({} if how == "PNG" else {"quality": 50 if how == "poor" else 90})
        )
        image.save(tmp_path / "original.png")
        (tmp_path / "changed").write_bytes(buffer.getvalue())
        one, other = (look_at(tmp_path / name).picture for name in ("original.png", "changed"))
        assert one is not None
        assert other is not None
        far += (one ^ other).bit_count() > DISTANCE
    assert far == 0


@pytest.mark.parametrize(("name", "seed"), [("derm7pt", 0), ("derm7pt", 1), ("isic2017", 0)])
def test_a_synthetic_set_has_no_twins(name: str, seed: int, tmp_path: Path) -> None:
    synthesise = DATASETS[name].synthesise
    assert synthesise is not None
    synthesise(tmp_path / "a set", 200, 64, seed)
    found = read(f"{name}:{tmp_path / 'a set'}")
    cases = found.cases if isinstance(found, SegmentedCases) else found
    assert isinstance(cases, CaseSet)
    contents = contents_of(cases.images)
    assert len(set(contents)) == 200
    assert near_twins(cases, contents, [picture_hash(decode(image, HASHED_PX)) for image in cases.images]) == []


def test_digests_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_bytes(b"same")
    first = contents_of(files)
    assert first[0] == first[1] == "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"
    kept = list((tmp_path / "cache" / "contents").glob("*/contents.json"))
    assert len(kept) == 1
    kept[0].write_text('["one", "two"]')
    assert contents_of(files) == ("one", "two"), "they are not read again"
    files[1].write_bytes(b"other")
    assert contents_of(files)[0] == first[0]
    assert contents_of(files)[1] != first[1]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"a folder must be a file that can be read; got "):
        contents_of([_made(tmp_path / "a folder")])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_links_to_one_file_in_two_splits_are_one_picture(tmp_path: Path) -> None:
    lesion(1).save(tmp_path / "a.png")
    (tmp_path / "soft.png").symlink_to("a.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    lesion(2).save(tmp_path / "b.png")
    lines = ["image,split,diagnosis", "a.png,train,m", "b.png,train,n", "soft.png,valid,m", "hard.png,valid,n"]
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    found = read(f"table:{tmp_path / 'cases.csv'}")
    assert isinstance(found, CaseSet)
    assert images.inspect(found).problems == [
        "line 4: image soft.png must be in one split; got valid, and train on line 2",
        "line 5: image hard.png must not be in valid; got the very picture of a.png (line 2), in train",
    ]
