"""Files that are no configuration at all: empty, not YAML, not text, not there."""

from pathlib import Path

import pytest

from nginy.config.load import load, parse
from nginy.errors import ConfigError

ALIAS_BOMB = f"- &v0 [{9 * 'x,'}]\n" + "".join(
    f"- &v{level} [{9 * f'*v{level - 1},'}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["f: the file is empty (expected backends and rules)"]),
        ("# nothing\n", ["f: the file is empty (expected backends and rules)"]),
        ("- a\n", ["f:1: the file is not a mapping (expected backends: ... and rules: ...)"]),
        (
            "backends:\nrules: []\n",
            [
                "f:1: backends: there is none (expected a list of at least one backend)",
                "f:2: rules: there is none (expected a list of at least one rule)",
            ],
        ),
        (
            "backends: many\nrules: 3\n",
            [
                "f:1: backends: 'many' is not valid (expected a list)",
                "f:2: rules: 3 is not valid (expected a list)",
            ],
        ),
        (
            "a: [1,\nb: 2\n",
            [
                "f:3:1: not YAML: while parsing a flow sequence: did not find expected ',' or ']'"
                " (expected an end of what is opened in line 1, column 4)"
            ],
        ),
        ("a: 1\nb: \x01\n", ["f:2:4: not YAML: control characters are not allowed"]),
        (1000 * "[", ["f: is nested too deeply"]),
        (1_000_000 * "[", ["f: is nested too deeply"]),
        (ALIAS_BOMB, ["f:1: has too many values (expected at most 1000000, aliases expanded)"]),
        (
            'backends: [{id: a, address: "unix:/\\ud800"}]\n',
            [
                "f:1:38: not YAML: while parsing a quoted scalar: found invalid Unicode character"
                " escape code"
            ],
        ),
        (
            "a: !new 1\n",
            [
                "f:1:4: not YAML: could not determine a constructor for the tag '!new'"
                " (expected no tag)"
            ],
        ),
    ],
)
def test_files_that_are_no_configuration(text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert [str(problem) for problem in caught.value.problems] == expected


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2: is not text (expected UTF-8)"
