"""Files that users bring: the forms that are read, and what is refused."""

import json

import pytest

from distilnas.errors import UsageError
from distilnas.ranking import read_columns


def write(folder, text):
    path = folder / "numbers"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "architecture,score\n01,0.5\n10,2e3\n",
        "\ufeffscore , architecture\r\n0.5,01\r\n\r\n 2000 ,10\r\n",
        '{"01": 0.5, "10": 2000}',
        '\n {"01": {"score": 0.5, "note": "x"}, "10": {"score": 2000}}',
    ],
)
def test_forms(tmp_path, text):
    columns = read_columns(write(tmp_path, text), plain="score")
    assert columns.numbers(columns.pick("score")) == {"01": 0.5, "10": 2000.0}


def test_quoted_names_with_commas(tmp_path):
    columns = read_columns(write(tmp_path, 'architecture,score\n"a,b",1\n'), plain="score")
    assert columns.rows == {"a,b": {"score": "1"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name the columns"),
        ("name,score\n01,1\n", "one of them 'architecture', got 'name,score'"),
        ("architecture,score,score\n01,1,2\n", "each once"),
        ("architecture,score\n01\n", "row 2 must have 2 fields as the header has, got 1"),
        ("architecture,score\n01,1\n01,2\n", "row 3 names '01' again"),
        ('{"01": 1, "01": 2}', "'01' stands there twice"),
        ('[["01", 1]]', "must be a mapping"),
        ('{"01": 1', "cannot read"),
        ('{"01": ' + "9" * 5000 + "}", "cannot read"),
        ("[" * 100_000, "cannot read"),
        ('architecture,score\n"01,1\n', "cannot read"),
        (b"architecture,score\n\xff,1\n", "cannot read"),
    ],
)
def test_other_forms_are_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_columns(write(tmp_path, text), plain="score")


def test_a_wrong_file_of_many_columns_is_refused_in_few_words(tmp_path):
    """Such as JSON with one key around all networks."""
    wrapped = {"scores": {f"{i:04}": i for i in range(6561)}}
    columns = read_columns(write(tmp_path, json.dumps(wrapped)), plain="score")
    with pytest.raises(UsageError, match=r"it has '0000', .*'0011', ...; none of the 6561") as caught:
        columns.pick("score")
    assert len(str(caught.value)) < 500


def test_a_file_without_columns_says_so(tmp_path):
    with pytest.raises(UsageError, match="needs a column 'score', it has none; there is none to choose from"):
        read_columns(write(tmp_path, "{}"), plain="score").pick("score")


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            read_columns(path, plain="score")


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "", "many", "1e999", "4_5"])
def test_csv_numbers_must_be_finite(tmp_path, value):
    columns = read_columns(write(tmp_path, f"architecture,score\n01,1\n10,{value}\n"), plain="score")
    with pytest.raises(UsageError, match="score of '10' must be a finite number"):
        columns.numbers("score")


@pytest.mark.parametrize("value", [None, True, [1], {"score": None}, {}, float("nan"), 10**400])
def test_json_numbers_must_be_finite(tmp_path, value):
    columns = read_columns(write(tmp_path, json.dumps({"01": 1, "10": value})), plain="score")
    with pytest.raises(UsageError, match="score of '10' must be a finite number"):
        columns.numbers("score")


def test_unknown_columns_name_the_nearest(tmp_path):
    columns = read_columns(write(tmp_path, "architecture,acuracy\n01,1\n"), plain="score")
    with pytest.raises(UsageError, match=r"needs a column 'accuracy' or 'mean_acc'.* did you mean 'acuracy'"):
        columns.pick("accuracy", "mean_acc")
