"""Files for the servers that keep the targets of CIRR's and CIRCO's test splits.

A file is checked against the servers' rules before it is written: a server tells little of what was wrong, and counts
the attempt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CIRR_LENGTHS = {"recall": 50, "recall_subset": 3}
"""How many names each of CIRR's files has for a query."""
CIRR_BYTES = 5_000_000
"""The largest file that CIRR's server takes."""
CIRCO_LENGTH = 50


def cirr_submission(
    metric: Literal["recall", "recall_subset"],
    rankings: Mapping[str, Sequence[str]],
    references: Mapping[str, str],
    groups: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """One of the two files for CIRR's server, version ``rc2``.

    Args:
        metric: Which of them.
        rankings: By pair id the names of pictures, the best first: 50, or 3 of the query's group for the subset.
        references: By pair id the reference, of all queries of the split.
        groups: By pair id the names of the query's group.

    Returns:
        What the file holds.

    Raises:
        InputError: A query is missing or unknown, or its names break a rule: how many, each once, without the
            reference, within the group.
    """
    length = CIRR_LENGTHS[metric]
    _check_ids(rankings, references)
    for pair, names in rankings.items():
        _check_names(pair, names, length)
        if references[pair] in names:
            raise InputError(f"query {pair}: the reference {references[pair]} must not be among the answers")
        outside = [name for name in names if name not in groups[pair]] if metric == "recall_subset" else []
        if outside:
            raise InputError(f"query {pair}: {outside[0]} is not in its group")
    return {"version": "rc2", "metric": metric, **{pair: list(names) for pair, names in rankings.items()}}


def circo_submission(rankings: Mapping[str, Sequence[str]], queries: Sequence[str]) -> dict[str, list[int]]:
    """The file for CIRCO's server.

    Args:
        rankings: By query id the ids of 50 pictures, the best first.
        queries: Ids of all queries of the split.

    Returns:
        What the file holds, in the order of ``queries``.

    Raises:
        InputError: A query is missing or unknown, its ids are not 50 different ones, or an id is no number.
    """
    _check_ids(rankings, dict.fromkeys(queries))
    for query, images in rankings.items():
        _check_names(query, images, CIRCO_LENGTH)
        for image in images:
            if not image.isdecimal():
                raise InputError(f"query {query}: {image!r} is not the number of a COCO picture")
    return {query: [int(image) for image in rankings[query]] for query in queries}


def write_submission(submission: Mapping[str, Any], file: Path, *, overwrite: bool = False) -> None:
    """Write a submission, whole or not at all.

    Raises:
        OutputExistsError: The file is there and ``overwrite`` is false.
        InputError: It cannot be written, or is larger than CIRR's server takes.
    """
    content = json.dumps(submission).encode()
    if "metric" in submission and len(content) > CIRR_BYTES:
        raise InputError(f"the submission has {len(content)} bytes, the server takes {CIRR_BYTES}")
    with atomic_file(file, overwrite=overwrite) as stream:
        stream.write(content)


def _check_ids(rankings: Mapping[str, Any], queries: Mapping[str, Any]) -> None:
    missing = [query for query in queries if query not in rankings]
    unknown = [query for query in rankings if query not in queries]
    if missing or unknown:
        what = f"{len(missing)} are missing" if missing else f"{len(unknown)} are unknown"
        raise InputError(f"a submission needs all {len(queries)} queries: {what}, first {(missing or unknown)[0]}")


def _check_names(query: str, names: Sequence[str], length: int) -> None:
    if len(names) != length:
        raise InputError(f"query {query}: {len(names)} answers, but it must be {length}")
    if len(set(names)) != length:
        raise InputError(f"query {query}: a picture is among the answers twice")
