"""Cases with a melanoma label and masks of structures, as `isic2017` gives them and the attentive task takes them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from trainables.data.cases import CaseSet
from trainables.data.repeated import Problems

ATTRIBUTES = ("pigment_network", "negative_network", "milia_like_cyst", "streaks")
#: Generic structures first: lesion and skin are known of every case, the attributes only where they were annotated.
STRUCTURES = ("lesion", "skin", *ATTRIBUTES)
NUM_GENERIC = 2
#: Attribute → whether each superpixel of a case shows it.
Annotation = Mapping[str, Bool[np.ndarray, " _"]]


@dataclass(frozen=True)
class SegmentedCases:
    """Images with a diagnosis, a lesion mask and, where they were annotated, dermoscopic attributes by superpixel.

    Args:    cases: images, splits and the diagnosis, whose only task is `melanoma` (benign, melanoma).
             lesions: one mask file per case.
             superpixels: one index image per case, None where the attributes are unknown.
             annotations: attribute → 0/1 by superpixel, None where unknown.
    """

    cases: CaseSet
    lesions: tuple[Path, ...]
    superpixels: tuple[Path | None, ...]
    annotations: tuple[Annotation | None, ...]

    @property
    def attributes_known(self) -> Bool[np.ndarray, " cases"]:
        """Whose attributes are annotated."""
        return np.array([annotation is not None for annotation in self.annotations])

    @property
    def presence(self) -> Bool[np.ndarray, "cases structures"]:
        """Which structures a case has by its annotation; an unknown attribute counts as none."""
        attributes = [
            [annotation is not None and bool(annotation[name].any()) for name in ATTRIBUTES] for annotation in self.annotations
        ]
        generic = np.ones((len(self.lesions), NUM_GENERIC), dtype=bool)
        return np.hstack([generic, np.array(attributes, dtype=bool).reshape(-1, len(ATTRIBUTES))])

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Split → task → label → cases, the attributes as if each were a task."""
        found = {split: dict(tasks) for split, tasks in self.cases.counts().items()}
        presence, known = self.presence, self.attributes_known
        for split, members in self.cases.splits.items():
            unknown = int((~known[members]).sum())
            for column, name in enumerate(ATTRIBUTES, start=NUM_GENERIC):
                present = int(presence[members, column].sum())
                counts = {"present": present, "absent": len(members) - present - unknown}
                found[split][name] = counts | ({"(unknown)": unknown} if unknown else {})
        return found

    @property
    def images(self) -> tuple[Path, ...]:
        """One absolute path per case."""
        return self.cases.images

    @property
    def groups(self) -> tuple[str, ...]:
        """Whose each case is (see `CaseSet`)."""
        return self.cases.groups

    def leaks(self) -> list[str]:
        """One line for each case, image file and group that stands in two splits."""
        seen: dict[str, str] = {}
        problems = Problems()
        for split, members in self.cases.splits.items():
            for name in (self.cases.names[index] for index in members):
                if seen.setdefault(name, split) != split:
                    places = f"{seen[name]} and {split}"
                    many = "{} cases must be in one split; got in two"
                    problems.add(f"{name} must be in one split; got {places}", many, f"{name} in {places}")
        return problems.lines() + self.cases.leaks()

    def fingerprint(self, image_digest: str, mask_digest: str) -> str:
        """Names what was trained on: labels, splits, images and masks.

        Args:    image_digest, mask_digest: of the files' contents, from the caches.
        Returns: 16 hexadecimal digits.
        """
        parts = [self.cases.fingerprint(image_digest), mask_digest]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def training_presence(self) -> Int[np.ndarray, " structures"]:
        """Training cases that have each structure, P_s of Esteve-Cogollos & Fernández-Torres 2020, Table 1."""
        return np.asarray(self.presence[self.cases.splits["train"]].sum(0))
