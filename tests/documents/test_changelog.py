"""The changelog begins with *Unreleased*, and its latest release is the version of the package."""

import re
from configparser import ConfigParser

from tests.harness.documents import CHANGELOG, ROOT


def test_the_latest_release_is_the_version_of_the_package():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    unreleased, latest, *_ = CHANGELOG.chapters()

    assert unreleased == "Unreleased"
    assert latest.partition(" - ")[0] == setup["metadata"]["version"]


def test_releases_are_dated_and_in_order():
    releases = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - (\d{4}-\d\d-\d\d)", each) for each in CHANGELOG.chapters()[1:]]

    numbers = [(*map(int, each.groups()[:3]), each[4]) for each in releases if each]
    assert len(numbers) == len(releases) > 0
    assert numbers == sorted(numbers, reverse=True)
