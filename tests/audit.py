"""What trio-ws stands on: its licences, and what is known against it (``make lint``).

The licences of all that an installation needs, extras included, are read from what is installed.
What is known against the versions that are installed is asked of PyPI by pip-audit; where PyPI
cannot be reached or does not know a package, that is said, and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: What asks for no more than to be named, or, MPL, for changes of its own files.
PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
    }
)
#: How packages that do not use SPDX's names say it.
_BY_OTHER_NAMES = {
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
#: The extras of trio-ws that people run with; the others are for its development.
RUNTIME_EXTRA = "all"
#: Seconds that PyPI gets to answer.
_PATIENCE = 20


def needed(find: Callable[[str], Distribution] = distribution) -> dict[str, Distribution]:
    """Every distribution that ``trio-ws[all]`` needs on this Python, by name."""
    found: dict[str, Distribution] = {}
    asked = {("trio-ws", frozenset({RUNTIME_EXTRA}))}
    done: set[tuple[str, frozenset[str]]] = set()
    while asked - done:
        name, extras = one = (asked - done).pop()
        done.add(one)
        found[name] = find(name)
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            environments = [{"extra": extra} for extra in extras or {""}]
            if marker is None or any(map(marker.evaluate, environments)):
                asked.add((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    del found["trio-ws"]
    return found


def licence_of(package: Distribution) -> str:
    """What its metadata says, as an SPDX expression if it can be had; "" if it says nothing."""
    about = package.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    # Some have the whole text there.
    stated = about["License"].partition("\n")[0].strip() if "License" in about else ""
    names = classifiers or ([stated] if stated else [])
    return " AND ".join(_BY_OTHER_NAMES.get(name, name) for name in names)


def is_permissive(expression: str) -> bool:
    """Whether an SPDX expression lets everybody do as with MIT; "" does not."""
    choices = re.split(r"\s+OR\s+", expression.replace("(", " ").replace(")", " ").strip())
    each = [re.split(r"\s+AND\s+", choice) for choice in choices]
    if "(" in expression and len(choices) > 1 and any(len(parts) > 1 for parts in each):
        # What belongs together is not looked into: all of it must do.
        return all(part in PERMISSIVE for parts in each for part in parts)
    return any(all(part in PERMISSIVE for part in parts) for parts in each)


def bad_licences(packages: Iterable[Distribution]) -> Iterator[str]:
    """A sentence for each package whose licence is not permissive."""
    for package in packages:
        licence = licence_of(package)
        if not is_permissive(licence):
            stated = licence or "no licence"
            yield f"{package.name} {package.version}: not known as permissive: {stated}"


def ask() -> list[dict[str, Any]] | None:
    """What pip-audit says of each package that is installed; ``None`` if it cannot tell."""
    options = "--local --skip-editable --progress-spinner off --timeout 5 --format json"
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pip_audit", *options.split()],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        packages: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return packages


def known_against(packages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A sentence for everything that is known against a package."""
    for package in packages:
        for one in package.get("vulns", ()):
            fixed = ", ".join(one["fix_versions"]) or "no version"
            yield f"{package['name']} {package['version']}: {one['id']}, mended in {fixed}"


def main() -> int:
    """Print what was found; the exit status is 1 if that is anything bad."""
    packages = needed()
    problems = list(bad_licences(packages.values()))
    print(f"licences of {len(packages)} packages: {len(problems)} that are not permissive")
    audited = ask()
    # Of those that are here for development, too, which are nobody else's business.
    looked_at = [
        one
        for one in audited or ()
        if "vulns" in one and canonicalize_name(one["name"]) in packages
    ]
    if looked_at:
        known = list(known_against(looked_at))
        print(f"PyPI knows {len(looked_at)} packages, and {len(known)} things against them")
        problems += known
    else:
        print("what is known against packages: PyPI cannot be asked here")
    for problem in problems:
        print(f"  {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
