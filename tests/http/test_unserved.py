"""What is told of a path that is not served."""

import re
from pathlib import Path

import openai
import pytest

from gptdock.http import unserved

RESOURCES = Path(openai.__file__).parent / "resources"


def test_every_path_of_the_openai_package_has_its_mend():
    """A new version of the package may know more: then the table should, too."""
    sources = [path.read_text() for path in RESOURCES.rglob("*.py")]
    firsts = {first for source in sources for first in re.findall(r"[\"\']/([a-z_-]+)[/\"\'?{]", source)}

    assert len(firsts) > 20
    assert firsts - unserved.MENDS.keys() == set()


@pytest.mark.parametrize("base", ["/v1", "/clients/1234/demo/v1"])
def test_a_path_of_openai_s_is_told_what_to_use_instead(base: str):
    assert "use POST /v1/chat/completions" in unserved.explain(f"{base}/completions")
    assert "cannot be bounded" in unserved.explain(f"{base}/images/generations")


@pytest.mark.parametrize(
    "path",
    ["/models", "/chat/completions", "/v1/v1/models", "/clients/1234/demo/chat/completions", "/clients/a/v1/models"],
)
def test_a_base_url_without_its_version_is_told(path: str):
    assert "must end with /v1, once" in unserved.explain(path)


@pytest.mark.parametrize(
    "path", ["/v1//models", "//v1/models", "/v1/models/", "/clients/1234/demo/v1//chat/completions"]
)
def test_a_slash_too_many_is_told(path: str):
    assert "a slash too many" in unserved.explain(path)


@pytest.mark.parametrize("path", ["", "/", "*", "/v1", "/v1/nowhere", "/v2/models"])
def test_of_any_other_path_nothing_is_told(path: str):
    assert unserved.explain(path) == ""


def test_no_part_of_a_path_is_repeated():
    assert "evil" not in unserved.explain("/clients/evil/<evil>/v1/completions/evil\r\nevil")
