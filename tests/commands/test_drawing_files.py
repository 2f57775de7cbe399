"""Files of `--save-annotated`, chosen before any picture is answered."""

from pathlib import Path

import pytest

from app.commands.drawing_files import drawing_files
from app.errors import InvalidRequest


@pytest.mark.parametrize(
    ("target", "pictures", "files"),
    [
        ("boxes.PNG", ["a.jpg"], ["boxes.PNG"]),
        ("new/boxes.webp", ["a.jpg"], ["new/boxes.webp"]),
        ("boxes/", ["a.jpg"], ["boxes/a.png"]),
        ("there.d", ["a.jpg"], ["there.d/a.png"]),
        ("boxes", ["a.jpg", "b.png"], ["boxes/a.png", "boxes/b.png"]),
    ],
)
def test_a_drawing_has_a_file_in_a_folder_that_exists(
    tmp_path: Path, target: str, pictures: list[str], files: list[str]
) -> None:
    (tmp_path / "there.d").mkdir()
    chosen = drawing_files(tmp_path / target, [tmp_path / name for name in pictures])
    assert chosen == [tmp_path / name for name in files]
    assert chosen[0].parent.is_dir()


def test_several_drawings_need_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "boxes.png"
    file.write_bytes(b"an earlier drawing")
    with pytest.raises(InvalidRequest, match="must be a folder for several pictures; .* is a file"):
        drawing_files(file, [tmp_path / "a.jpg", tmp_path / "b.jpg"])


@pytest.mark.parametrize(
    ("target", "pictures", "message"),
    [
        ("boxes.gif", ["a.jpg"], "must be a folder, or end in .png"),
        ("a.png", ["a.png"], "would overwrite the picture"),
        (".", ["a.png", "b.png"], "would overwrite the picture"),
        ("boxes", ["one/a.jpg", "two/a.png"], "two pictures would be drawn into"),
    ],
)
def test_a_drawing_overwrites_no_picture_and_no_other_drawing(
    tmp_path: Path, target: str, pictures: list[str], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        drawing_files(tmp_path / target, [tmp_path / name for name in pictures])
    assert list(tmp_path.iterdir()) == []
