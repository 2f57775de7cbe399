"""Chooses the files of `--save-annotated` before any picture is answered."""

from collections.abc import Sequence
from pathlib import Path

from app.errors import InvalidRequest
from app.pictures.marks import MediaType

MEDIA_TYPES: dict[str, MediaType] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


def drawing_files(target: Path, pictures: Sequence[Path]) -> list[Path]:
    """Return the file for the drawing of each picture, and create their folder.

    Args:
        target: a folder if there are several pictures, it exists as one, or it has no suffix.

    Raises:
        InvalidRequest: the target has another suffix or is a file where a folder is needed, or a
            drawing would overwrite a picture or another drawing.
        OSError: the folder cannot be created.
    """
    is_folder = len(pictures) > 1 or target.is_dir() or not target.suffix
    if not is_folder and target.suffix.lower() not in MEDIA_TYPES:
        raise _invalid(f"must be a folder, or end in {', '.join(MEDIA_TYPES)}")
    if is_folder and target.is_file():
        raise _invalid(f"must be a folder for several pictures; {target} is a file")
    files = [target / f"{path.stem}.png" for path in pictures] if is_folder else [target]
    originals = {path.resolve() for path in pictures}
    drawn = set[Path]()
    for file in files:
        if file.resolve() in originals:
            raise _invalid(f"would overwrite the picture {file}; choose another folder or file")
        if file in drawn:
            raise _invalid(f"two pictures would be drawn into {file}; use one command for each")
        drawn.add(file)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    return files


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest("--save-annotated", message)
