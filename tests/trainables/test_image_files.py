"""Images by the names that people write into tables."""

from pathlib import Path

import pytest

from trainables.data.image_files import ImageFinder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images at several depths, and masks beside some."""
    for name in (
        "a.JPG",
        "part_1/ISIC_1.jpg",
        "part_2/ISIC_2.jpg",
        "part_2/ISIC_2_mask.png",
        "x/y/z/deep.bmp",
        "x/y/z/w/deeper.bmp",
    ):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"")
    for name in ("part_1/twice.png", "part_2/twice.png", "part_2/both.png", "part_2/both.jpg"):
        (tmp_path / "set" / name).write_bytes(b"")
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.JPG", "a.JPG"),
        ("a.jpg", "a.JPG"),
        ("a", "a.JPG"),
        ("ISIC_1", "part_1/ISIC_1.jpg"),
        ("ISIC_2.jpg", "part_2/ISIC_2.jpg"),
        ("part_1\\ISIC_1.jpg", "part_1/ISIC_1.jpg"),
        ("C:\\Users\\me\\part_1\\ISIC_1.jpg", "part_1/ISIC_1.jpg"),
        ("/home/me/data/part_1/twice.png", "part_1/twice.png"),
        ("part_2/twice", "part_2/twice.png"),
        ("deep", "x/y/z/deep.bmp"),
        ("z/deep", "x/y/z/deep.bmp"),
        ("y/z/deep.BMP", "x/y/z/deep.bmp"),
        ("/old/z/deep", "x/y/z/deep.bmp"),
        ("/old/set/a", "a.JPG"),
    ],
)
def test_an_image_is_found_by_what_people_call_it(folder: Path, name: str, path: str) -> None:
    finder = ImageFinder(folder)
    assert finder.find(name, "line 2") == folder / path
    assert finder.problems() == []
    told = f"image names that are no paths as they stand are looked up in {folder} (1: {name} is read as {path})"
    assert finder.notes() == ([] if name == path else [told])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ISIC_3", "image {folder}/ISIC_3 does not exist"),
        ("deeper", "image {folder}/deeper does not exist"),
        ("ISIC_2.png", "image {folder}/ISIC_2.png does not exist"),
        ("part_1/ISIC_2.jpg", "image {folder}/part_1/ISIC_2.jpg does not exist"),
        ("part_1/ISIC_2", "image {folder}/part_1/ISIC_2 does not exist"),
        ("part_1\\ISIC_2", "image {folder}/part_1\\ISIC_2 does not exist"),
        ("/old/part_1/ISIC_2.jpg", "image must lie in {folder}; got '/old/part_1/ISIC_2.jpg'"),
        ("part_1/a.jpg", "image {folder}/part_1/a.jpg does not exist"),
        ("", "image must name a file; got an empty cell"),
        ("twice", "image 'twice' must name one file; got part_1/twice.png and part_2/twice.png"),
        ("both", "image 'both' must name one file; got part_2/both.jpg and part_2/both.png"),
        (
            "/etc/hostname",
            "image must lie in {folder}; got '/etc/hostname' (move the table above its images or link them into its",
        ),
        ("../set/../x/a.JPG", "image must lie in {folder}; got '../set/../x/a.JPG' (move the table above its images"),
    ],
)
def test_what_is_not_found_or_several_things_is_told_with_its_line(folder: Path, name: str, problem: str) -> None:
    finder = ImageFinder(folder)
    finder.find(name, "line 2")
    (line,) = finder.problems()
    assert line.startswith(f"line 2: {problem.format(folder=folder)}")


def test_many_of_a_kind_are_one_line(folder: Path) -> None:
    finder = ImageFinder(folder)
    for row in range(2, 42):
        finder.find(f"x{row}.png", f"line {row}")
        finder.find("/etc/hostname", f"line {row}")
    finder.find("twice", "line 99")
    missing, outside, ambiguous = finder.problems()
    assert missing == f"40 images do not exist in {folder}: x2.png (line 2), x3.png (line 3), x4.png (line 4) and 37 more"
    assert outside.startswith(
        f"40 images must lie in {folder} (move the table above its images or link them into its folder); got: /"
    )
    assert ambiguous.startswith("line 99: image 'twice'")
