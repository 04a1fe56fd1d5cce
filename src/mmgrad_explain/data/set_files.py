"""The files of a triplet set's folder, by name, and the keys of a record that name files."""

TRIPLETS_FILE = "triplets.jsonl"
"""One record a line."""

MANIFEST_FILE = "manifest.json"
"""Options, versions and counts; it also marks the folder as that of a set."""

JOURNAL_FILE = "journal.jsonl"
"""One line for each task that is done; see :mod:`mmgrad_explain.data.set_journal`."""

LICENCES_FILE = "LICENSES.txt"
CONTACT_SHEET_FILE = "contact_sheet.png"

IMAGE_FOLDERS = ("references", "targets", "masks")

IMAGE_KEYS = ("reference", "target", "mask", "target_mask")
"""Keys of a record that name images and masks."""
