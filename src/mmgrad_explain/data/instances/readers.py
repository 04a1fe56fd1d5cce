"""Reads data sets with object masks: COCO instances, COCO panoptic, folders of index masks.

Each reader returns an :class:`~mmgrad_explain.data.instances.records.InstanceSet`: the photographs, and everything that
was wrong with the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmgrad_explain._system.user_files import (
    MOST_ANNOTATIONS,
    is_text,
    parse_json,
    quote,
    read_text,
    reading,
    reason_of,
    split_lines,
    strip_blanks,
)
from mmgrad_explain.data.instances.records import InstanceSet, Label, Licence, Photo
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

Problems: TypeAlias = dict[str, list[str]]

OUTSIDE = "photograph outside of the folder"
"""The problem with a file name that is absolute or has a ``..`` in it."""
UNLABELLED = ("null", "background", "void", "unlabeled", "unlabelled", "ignore", "_background_")
"""Class names of index masks that mean no object."""
_VOID = 255  # by convention "no label"


def read_coco(
    images: Path, annotations: Path, *, segments: Path | None = None, ignore: Collection[str] = ()
) -> InstanceSet:
    """Read COCO annotations: instances (polygons, run lengths) or panoptic (an image of identifiers beside the JSON).

    Args:
        images: The folder that the annotations' file names are relative to.
        annotations: The JSON file.
        segments: The folder of panoptic images; the JSON's path without ``.json`` when None.
        ignore: Classes that are never edited.

    Raises:
        InputError: The JSON is not COCO's, ``ignore`` names no class of it, or none of its photographs is there.
    """
    with reading(f"{annotations} is not a COCO annotation file"):
        return _coco(images, annotations, segments, ignore)


def _coco(images: Path, annotations: Path, segments: Path | None, ignore: Collection[str]) -> InstanceSet:
    data = _read_json(annotations)
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(_get(data, key), list)]
    if missing:
        raise InputError(f"{annotations} is not a COCO annotation file: it has no list {' or '.join(missing)}")
    problems: Problems = {}
    licences = {entry["id"]: entry for entry in data.get("licenses", []) if isinstance(entry, dict) and "id" in entry}
    classes = {c["id"]: c for c in data["categories"] if isinstance(c, dict) and "id" in c and "name" in c}
    _check_ignored(ignore, {str(c["name"]) for c in classes.values()})
    panoptic = any("segments_info" in a for a in data["annotations"] if isinstance(a, dict))
    labels, segment_files = (_panoptic_labels if panoptic else _instance_labels)(
        data["annotations"], classes, problems, ignore
    )
    folder = None
    if panoptic:
        folder = annotations.with_suffix("") if segments is None else segments
        if not folder.is_dir():
            raise InputError(f"the panoptic images' folder {folder} is not there: say where it is with --segments")
    photos = []
    for entry in data["images"]:
        name, key = _get(entry, "file_name"), _get(entry, "id")
        if not isinstance(name, str) or key is None:
            _add_problem(problems, "image entry without id or file_name", quote(entry)[:60])
        elif not labels.get(key):
            _add_problem(problems, "photograph without a usable annotation", name)
        elif leaves_folder(name):
            _add_problem(problems, OUTSIDE, name)
        elif not (images / name).is_file():
            _add_problem(problems, "photograph missing", name)
        else:
            licence = _licence(entry, licences)
            segment_file = None if folder is None else folder / segment_files[key]
            kind: Literal["panoptic", "coco"] = "panoptic" if panoptic else "coco"
            size = (entry["height"], entry["width"]) if "height" in entry and "width" in entry else None
            photos.append(Photo(name, images / name, tuple(labels[key]), kind, segment_file, licence, size=size))
    if not photos:
        example = next(iter(problems.get("photograph missing", problems.get(OUTSIDE, ["none is named"]))))
        raise InputError(
            f"none of the photographs of {annotations} is in {images} (the first: {example}): give the folder that its "
            "file names are relative to"
        )
    what = "COCO panoptic" if panoptic else "COCO instances"
    return _make_set(photos, problems, f"{what}, {annotations.name}")


def _instance_labels(
    annotations: Iterable[Any], classes: Mapping[Any, Any], problems: Problems, ignore: Collection[str]
) -> tuple[dict[Any, list[Label]], dict[Any, str]]:
    labels: dict[Any, list[Label]] = {}
    for entry in annotations:
        key, name = str(_get(entry, "id")), _get(classes.get(_get(entry, "category_id")), "name")
        if name is None:
            _add_problem(problems, "annotation of an unknown category", key)
        elif not _get(entry, "segmentation"):
            _add_problem(problems, "annotation without a mask", key)
        else:
            thing = bool(classes[entry["category_id"]].get("isthing", True))
            label = Label(str(name), entry["segmentation"], thing, bool(entry.get("iscrowd", 0)), name not in ignore)
            labels.setdefault(entry.get("image_id"), []).append(label)
    return labels, {}


def _panoptic_labels(
    annotations: Iterable[Any], classes: Mapping[Any, Any], problems: Problems, ignore: Collection[str]
) -> tuple[dict[Any, list[Label]], dict[Any, str]]:
    labels: dict[Any, list[Label]] = {}
    segment_files: dict[Any, str] = {}
    for entry in annotations:
        key, segment_file = _get(entry, "image_id"), _get(entry, "file_name")
        if key is None or not isinstance(segment_file, str):
            _add_problem(problems, "annotation without image_id or file_name", quote(entry)[:60])
            continue
        if leaves_folder(segment_file):
            _add_problem(problems, "panoptic image outside of its folder", segment_file)
            continue
        segment_files[key] = segment_file
        for segment in _get(entry, "segments_info") or []:
            kind = classes.get(_get(segment, "category_id"))
            if kind is None or "id" not in segment:
                _add_problem(problems, "segment of an unknown category", f"{segment_file}: {_get(segment, 'id')}")
                continue
            thing, name = bool(kind.get("isthing", True)), str(kind["name"])
            label = Label(name, segment["id"], thing, bool(segment.get("iscrowd", 0)), name not in ignore)
            labels.setdefault(key, []).append(label)
    return labels, segment_files


def read_index_masks(
    images: Path,
    labels: Path,
    *,
    names: Path | None = None,
    ignore: Collection[str] = (),
    objects: Literal["class", "components"] = "class",
    licence: Licence | None = None,
) -> InstanceSet:
    """Read a folder of photographs and a folder of index masks: images with class numbers as pixel values.

    A photograph and its mask have the same path without the suffix.

    Args:
        images: The folder of photographs, searched with its subfolders.
        labels: The folder of masks (PNG, 8 or 16 bits or with a palette).
        names: JSON with a list of class names, or a mapping from numbers to names or back, or a text file with one
            name a line; ``labels.json`` in or beside ``labels`` when None.
        ignore: Classes that are never edited. :data:`UNLABELLED` are no objects at all.
        objects: ``"class"``: all pixels of a class are one object (the shoes); ``"components"``: each connected part.
        licence: Of all photographs.

    Raises:
        InputError: A folder or the names are missing or not readable, or no photograph has a mask.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder")
    named = _class_names(labels, names)
    _check_ignored(ignore, named.values())
    labelled = {value: name for value, name in named.items() if name not in UNLABELLED}
    wanted = tuple(Label(name, value, editable=name not in ignore) for value, name in labelled.items())
    empty = (_VOID, *(named.keys() - labelled.keys()))
    problems: Problems = {}
    masks = {_path_without_suffix(path, labels): path for path in _list_images(labels)}
    photos = []
    for path in _list_images(images):
        if labels in path.parents and labels != images:
            continue
        mask = masks.pop(_path_without_suffix(path, images), None)
        name = path.relative_to(images).as_posix()
        if not is_text(name):
            _add_problem(problems, "photograph whose name is not UTF-8", name.encode(errors="replace").decode())
        elif mask is None:
            _add_problem(problems, "photograph without a mask", name)
        else:
            photos.append(Photo(name, path, wanted, "index", mask, licence, objects == "components", empty))
    for mask in masks.values():
        _add_problem(problems, "mask without a photograph", mask.relative_to(labels).as_posix())
    if not photos:
        raise InputError(f"no photograph in {images} has a mask of the same name in {labels}")
    what = "class" if objects == "class" else "connected part of a class"
    return _make_set(photos, problems, f"index masks, {len(wanted)} classes, one object a {what}")


def _check_ignored(ignore: Collection[str], names: Collection[str]) -> None:
    for name in ignore:
        if name not in names:
            hint = did_you_mean(name, names)
            raise InputError(f"ignore: {name!r} is not a class of this data set: {hint}it has {_name_some(names)}")


def _class_names(labels: Path, names: Path | None) -> dict[int, str]:
    if names is None:
        places = [labels / "labels.json", labels.parent / "labels.json"]
        names = next((path for path in places if path.is_file()), None)
        if names is None:
            raise InputError(f"no class names: there is no labels.json in or beside {labels}, name a file with --names")
    if names.suffix.lower() != ".json":
        try:
            return {i: strip_blanks(line) for i, line in enumerate(split_lines(read_text(names))) if strip_blanks(line)}
        except OSError as error:
            raise InputError(f"class names {names} cannot be read: {error}") from error
        except InputError as error:
            raise InputError(f"class names {names} cannot be read: {reason_of(error.__cause__ or error)}") from error
    data = _read_json(names)
    if isinstance(data, list) and all(isinstance(name, str) for name in data):
        return dict(enumerate(data))
    if isinstance(data, dict):
        try:
            if all(isinstance(name, str) for name in data.values()):
                return {int(value): name for value, name in data.items()}
            return {int(value): name for name, value in data.items()}
        except (TypeError, ValueError):
            pass
    raise InputError(f"class names {names} must be a list of names, or a mapping between numbers and names")


def _licence(entry: Mapping[str, Any], licences: Mapping[Any, Any]) -> Licence | None:
    known = licences.get(entry.get("license"), {})
    source = entry.get("attribution") or entry.get("author") or entry.get("flickr_url") or entry.get("coco_url") or ""
    found = Licence(str(known.get("name", "")), str(known.get("url", "")), str(source))
    return found if any(found) else None


def _read_json(path: Path) -> Any:
    try:
        return parse_json(read_text(path, MOST_ANNOTATIONS), f"{path} is not JSON, or breaks off")
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None


def _get(entry: object, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _add_problem(problems: Problems, what: str, which: str) -> None:
    problems.setdefault(what, []).append(which)


def _make_set(photos: list[Photo], problems: Problems, description: str) -> InstanceSet:
    names = sorted({label.class_name for photo in photos for label in photo.labels if label.editable})
    return InstanceSet(tuple(sorted(photos, key=lambda p: p.name)), tuple(names), problems, description)


def _path_without_suffix(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _list_images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _name_some(names: Iterable[str], limit: int = 8) -> str:
    known = sorted(names)
    return ", ".join(known[:limit]) + (f" and {len(known) - limit} more" if len(known) > limit else "")
